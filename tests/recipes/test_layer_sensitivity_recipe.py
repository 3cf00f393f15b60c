"""``LayerSensitivity`` with a translation recipe: the loss while it trains, BLEU at the end, a row for each class."""

from __future__ import annotations

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_compress import Interval, LayerSensitivity
from lightning_compress.search import LayerSensitivities
from recipes.data.parallel_text import ParallelText
from recipes.transformer import TransformerTranslation


def test_classes_of_a_translator_are_measured_by_loss_and_by_bleu(tmp_path, corpus):
    measured: list[LayerSensitivities] = []

    class Noting(LayerSensitivity):
        def _measure(self, trainer, state, measure):
            super()._measure(trainer, state, measure)
            measured.append(self.result)

    data = ParallelText(str(corpus), "en", "de", test="test")
    sizes = {"width": 16, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 16}
    module = TransformerTranslation(data.source_words, data.target_words, **sizes)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        callbacks=[
            ModelCheckpoint(tmp_path, monitor="val_bleu", mode="max"),
            Noting([Interval(1)], when=("end", 1)),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data)
    assert [result.measure for result in measured] == ["loss", "val_bleu"]
    assert [result.higher_is_better for result in measured] == [False, True]
    for result in measured:
        assert {"source_embedding", "encoder.0", "decoder.0"} <= set(result.groups)
        assert result.scores.shape == (len(result.groups), 1)
        assert set(result.estimates) == {"normalized error", "Fisher error"}
    assert measured[0].baseline > 0
    assert measured[1].baseline == float(trainer.callback_metrics["val_bleu"])
    assert LayerSensitivities.from_json((tmp_path / "sensitivity.json").read_text()).measure == "val_bleu"
