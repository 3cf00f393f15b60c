"""8 and 4 bits in training on a BERT, a T5, a small vision module and an LSTM: exported, read back, as validated."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Recurrent, Vision, trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import (
    CompressCheckpoint,
    Grid,
    GroupWise,
    Half,
    Logarithmic,
    Plan,
    QuantizeActivations,
    QuantizeDuringTraining,
    Raw,
    Rule,
    load_from_checkpoint,
)
from lightning_compress.archive import Archive
from lightning_compress.training import QuantizedInputs

pytestmark = pytest.mark.usefixtures("quick_coding")
WORDS = torch.randint(3, 30, (16, 6), generator=torch.Generator().manual_seed(0))
PLANS = {
    "8 bits": (Plan(Rule("*weight*", GroupWise(8, 16)), Rule("*", Half(), optional=True)), {}),
    "4 bits": (Plan(Rule("*bias*", Raw()), Rule("*", Logarithmic(4))), {"update": "proximal"}),
    "steps": (
        Plan(Rule("*weight*", Grid(0.02, trellis=0, rate_weight=0)), Rule("*", Half(), optional=True)),
        {"learn_steps": True, "noise": 0.7},
    ),
}


class Sentences(pl.LightningModule):
    """A model of ``transformers`` from a tiny configuration."""

    def train_dataloader(self):
        return DataLoader(TensorDataset(WORDS), batch_size=4)

    val_dataloader = train_dataloader

    def training_step(self, batch, batch_idx):
        return self.loss(batch[0])

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.loss(batch[0]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


class Classifier(Sentences):
    """A BERT that says whether the first word is among the first half of the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        torch.manual_seed(0)
        sizes = {
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 24,
            "max_position_embeddings": 9,
        }
        config = transformers.BertConfig(vocab_size=30, hidden_size=16, num_labels=2, **sizes)
        self.net = transformers.BertForSequenceClassification(config)

    def loss(self, words):
        return F.cross_entropy(self.net(input_ids=words).logits, (words[:, 0] < 15).long())


class Copies(Sentences):
    """A T5 that copies; its embeddings are shared."""

    def __init__(self) -> None:
        super().__init__()
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
        torch.manual_seed(0)
        sizes = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
        self.net = transformers.T5ForConditionalGeneration(
            transformers.T5Config(vocab_size=30, decoder_start_token_id=0, **sizes)
        )

    def loss(self, words):
        return self.net(input_ids=words, labels=words).loss


@pytest.mark.parametrize("make", [Classifier, Copies, Vision, Recurrent])
def test_the_file_computes_what_was_validated(make, tmp_path):
    for name, (plan, options) in PLANS.items():
        with naming(name):
            inputs = QuantizeActivations(8)
            save = ModelCheckpoint(tmp_path / name, filename="last")
            files = CompressCheckpoint("trained", on_error="raise")
            callbacks = (QuantizeDuringTraining(plan, **options), inputs, files, save)
            module = make()
            run = trainer(tmp_path, *callbacks, max_epochs=2)
            run.fit(module)
            path = tmp_path / name / "last.compressed.safetensors"
            loaded = load_from_checkpoint(make, path)
            record = Archive.open(path).record().checkpoint["activation_ranges"]
            QuantizedInputs(loaded, record["bits"]).load_state_dict(record["ranges"])
            assert len(record["ranges"]) >= 2
            again = trainer(tmp_path).validate(loaded, verbose=False)[0]["val_loss"]
            assert again == run.callback_metrics["val_loss"].item()
