"""Translations measured while a small model trains: what is logged and written, and a training that notices nothing."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from small_trainings import Small, Tied, Vision, trainer
from torchmetrics import MeanMetric

from lightning_compress import Archive, CompressCheckpoint, Plan, Rule, Score, TranslationQuality, bleu_score
from lightning_compress.callbacks.translation.quality import Text, Translations
from lightning_compress.errors import CallbackError, PlanError
from lightning_compress.quantize import Binary, Raw

pytestmark = pytest.mark.usefixtures("quick_coding", "quick_predictions")

WORDS = ("red", "bus", "dog", "small", "here", "runs", "two", "men")
SOURCES = [f"{WORDS[k % 8]} {WORDS[k % 5]} {k}" for k in range(12)]
REFERENCES = [" ".join(WORDS[(k + j) % 8] for j in range(6)) for k in range(12)]
CRUDE = Plan(Rule("*.weight", Binary(), Raw()))


class Translator(Small):
    """Says words that its weights choose: other weights, other words."""

    asked: ClassVar[list] = []  # of the class, since whatever a measurement does to the module is undone

    def translate(self, lines, *, beam=4):
        assert not self.training
        assert not torch.is_grad_enabled()
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        self.asked.append(beam)
        x = torch.randn(len(lines), 4, generator=torch.Generator().manual_seed(1))
        hidden = self.net[0](x)
        return [
            " ".join([*reference.split()[:4], *(WORDS[int(h > 0.3) + 2 * j] for j, h in enumerate(row[:3]))])
            for reference, row in zip(REFERENCES, hidden.tolist(), strict=True)
        ]

    def validation_text(self):
        return SOURCES, REFERENCES


class Recorder(CSVLogger):
    """A logger that remembers scalars with their steps, and has tables."""

    def __init__(self, folder) -> None:
        super().__init__(folder)
        self.values, self.tables = [], []

    def log_metrics(self, metrics, step=None):
        self.values.append((step, metrics))

    def log_table(self, key, columns=None, data=None, dataframe=None, step=None):
        self.tables.append((step, key, columns, data))

    def measured(self):
        return [(step, values) for step, values in self.values if any(name.startswith("quality/") for name in values)]


def _fit(folder, quality, *others, module=None, **options):
    logger = Recorder(folder / "log")
    Translator.asked.clear()
    module = module or Translator()
    checkpoint = ModelCheckpoint(folder / "run", "{epoch}", save_top_k=-1)
    run = trainer(folder, *others, quality, checkpoint, logger=logger, **{"max_epochs": 2, **options})
    run.fit(module)
    assert run.state.finished
    return logger, module


def _errors(caplog):
    return [
        r.getMessage() for r in caplog.records if r.name.startswith("lightning_compress") and r.levelname == "ERROR"
    ]


def test_each_save_is_measured_with_the_file_it_wrote(tmp_path, caplog):
    logger, module = _fit(tmp_path, TranslationQuality(beam=1), CompressCheckpoint(CRUDE))
    assert _errors(caplog) == []
    assert [step for step, _ in logger.measured()] == [3, 7]
    assert set(module.asked) == {1}
    _, values = logger.measured()[-1]
    assert set(values) == {
        "quality/bleu", "quality/bleu_compressed", "quality/chrf", "quality/chrf_compressed", "quality/changed",
        "compression/bleu_drop", "compression/bleu_drop_low", "compression/bleu_drop_high", "epoch",
    }  # fmt: skip
    assert values["epoch"] == 1
    exact = _translations(module)
    file = _loaded(Archive.open(tmp_path / "run/epoch=1.compressed.safetensors"))
    assert exact != file
    assert values["quality/bleu"] == bleu_score(exact, REFERENCES).value
    assert values["quality/bleu_compressed"] == bleu_score(file, REFERENCES).value
    drop = values["compression/bleu_drop"]
    assert drop == values["quality/bleu"] - values["quality/bleu_compressed"]
    assert values["compression/bleu_drop_low"] < drop < values["compression/bleu_drop_high"]
    assert values["quality/changed"] == sum(a != b for a, b in zip(exact, file, strict=True)) / 12


def _translations(module):
    with torch.no_grad():
        return module.eval().translate(SOURCES)


def _loaded(archive):
    module = Translator()
    module.load_state_dict(archive.restore())
    return _translations(module)


def test_a_sample_is_shown_once():
    text = Text(("a", "b", "a", "a"), ("A", "B", "A", "A"))
    translations = Translations(text, ["x", "y", "x", "z"], ["x", "w", "x", "z"])
    assert [(row["source"], row["exact"]) for row in translations.samples(5)] == [("b", "y"), ("a", "x"), ("a", "z")]
    assert len(translations.samples(2)) == 2


def test_samples_are_logged_and_written_beside_the_checkpoints(tmp_path):
    logger, _ = _fit(tmp_path, TranslationQuality(samples=5), CompressCheckpoint(CRUDE))
    record = json.loads((tmp_path / "run/translations.json").read_text())
    _, values = logger.measured()[-1]
    assert record["step"] == 8  # as in the file and in the names of checkpoints; Lightning logs at 7
    assert record["bleu_exact"] == values["quality/bleu"]
    assert record["bleu_compressed"] == values["quality/bleu_compressed"]
    assert record["drop"] == [values[f"compression/bleu_drop{end}"] for end in ("", "_low", "_high")]
    assert record["chrf_exact"] == values["quality/chrf"]
    assert record["signature"].startswith("nrefs:1|case:mixed|")
    assert "tok:13a" in record["signature"]
    assert len(record["samples"]) == 5
    for sample in record["samples"]:
        assert sample["reference"] == REFERENCES[SOURCES.index(sample["source"])]
        assert sample["exact"] != sample["compressed"]
    ((columns, rows),) = [table[2:] for table in logger.tables if table[:2] == (7, "quality/translations")]
    assert columns == ["source", "reference", "exact", "compressed"]
    assert len(rows) == 5
    assert all(
        "**" in row[3] and row[2].replace("**", "") == s["exact"]
        for row, s in zip(rows, record["samples"], strict=True)
    )


def test_a_plan_of_its_own_needs_no_other_callback(tmp_path):
    logger, _ = _fit(tmp_path, TranslationQuality(SOURCES, REFERENCES, plan=CRUDE, tokenize="none", sentences=12))
    assert len(logger.measured()) == 2
    record = json.loads((tmp_path / "run/translations.json").read_text())
    assert "tok:none" in record["signature"]
    assert record["bleu_compressed"] is not None


def test_without_compressed_weights_the_exact_ones_are_measured(tmp_path):
    logger, _ = _fit(tmp_path, TranslationQuality(samples=3))
    _, values = logger.measured()[-1]
    assert set(values) == {"quality/bleu", "quality/chrf", "epoch"}
    record = json.loads((tmp_path / "run/translations.json").read_text())
    assert (record["bleu_compressed"], record["drop"], record["samples"][0]["compressed"]) == (None, None, "")


def test_weights_that_lose_nothing_are_translated_once(tmp_path):
    logger, module = _fit(tmp_path, TranslationQuality(plan=Plan(Rule("*", Raw()))))
    assert len(module.asked) == 2
    _, values = logger.measured()[-1]
    assert values["compression/bleu_drop"] == values["quality/changed"] == 0


MOMENTS = [
    ({"at_save": False, "at_fit_end": False, "every_n_epochs": 2}, [7, 15]),
    ({"at_save": False, "at_fit_end": True}, [15]),
    ({"at_save": True, "at_fit_end": True, "every_n_epochs": 1}, [3, 7, 11, 15]),
    ({"at_save": False, "at_fit_end": False}, []),
    ({"when": (2, "end")}, [7, 15]),
]


@pytest.mark.parametrize(("moments", "steps"), MOMENTS)
def test_moments(moments, steps, tmp_path):
    logger, _ = _fit(tmp_path, TranslationQuality(plan=CRUDE, **moments), max_epochs=4)
    assert [step for step, _ in logger.measured()] == steps


def test_only_the_saves_that_are_best_are_measured(tmp_path):
    logger, best = Recorder(tmp_path / "log"), ModelCheckpoint(tmp_path / "run", monitor="score", save_top_k=-1)
    trainer(tmp_path, TranslationQuality(when="best"), best, logger=logger, max_epochs=4).fit(Translator())
    assert [step for step, _ in logger.measured()] == [3, 7, 15]  # the scores are 0.9, 0.5, 0.7, 0.3


def test_the_order_of_the_callbacks_does_not_matter(tmp_path):
    before, _ = _fit(tmp_path / "a", TranslationQuality(), CompressCheckpoint(CRUDE))
    run = trainer(
        tmp_path / "b",
        TranslationQuality(),
        CompressCheckpoint(CRUDE),
        ModelCheckpoint(tmp_path / "b/run", "{epoch}", save_top_k=-1),
        logger=(after := Recorder(tmp_path / "b/log")),
        max_epochs=2,
    )
    run.fit(Translator())
    assert before.measured() == after.measured()


def test_a_function_of_the_users(tmp_path):
    def accuracy(module):
        return Score.mean_of(module.net[0].weight.detach().flatten().numpy())

    logger, _ = _fit(tmp_path, TranslationQuality(metric=accuracy, plan=CRUDE))
    _, values = logger.measured()[-1]
    assert {"quality/accuracy", "quality/accuracy_compressed", "compression/accuracy_drop_low"} <= set(values)
    assert not (tmp_path / "run/translations.json").exists()


def test_a_function_of_which_less_is_better(tmp_path):
    logger, _ = _fit(
        tmp_path, TranslationQuality(metric=lambda module: module.net[0].weight[0, 0], mode="min", plan=CRUDE)
    )
    _, values = logger.measured()[-1]
    lost = values["quality/score_compressed"] - values["quality/score"]
    assert values["compression/score_drop"] == pytest.approx(lost)


@pytest.mark.parametrize("mode", ["min", None])
def test_the_trainers_own_validation(mode, tmp_path):
    logger = Recorder(tmp_path / "log")
    monitors = ModelCheckpoint(tmp_path, monitor="val_loss", mode="min", save_top_k=-1)
    quality = TranslationQuality(metric="val_loss", mode=mode, plan=CRUDE)
    trainer(tmp_path, quality, monitors, logger=logger, max_epochs=2).fit(Small())
    losses = {step: values["val_loss"] for step, values in logger.values if "val_loss" in values}
    for step, values in logger.measured():
        assert values["quality/val_loss"] == pytest.approx(losses[step], rel=1e-6)
        lost = values["quality/val_loss_compressed"] - values["quality/val_loss"]
        assert values["compression/val_loss_drop"] == pytest.approx(lost)
        assert lost != 0


# A training that notices nothing


class Metered(Translator):
    """Keeps a metric over the whole training."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = MeanMetric()

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.mean.update(loss.detach())
        return loss


def _everything(folder, module, *callbacks):
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    run = trainer(folder, *callbacks, ModelCheckpoint(folder, save_last=True, save_top_k=-1), max_epochs=2)
    run.fit(module)
    optimizer = {
        (k, name): value
        for k, state in run.optimizers[0].state_dict()["state"].items()
        for name, value in state.items()
    }
    metrics = dict(run.callback_metrics)
    randomness = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    return module.state_dict(), optimizer, metrics, run.global_step, randomness, module.training


def _expect_equal(first, second):
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for name in first:
            _expect_equal(first[name], second[name])
    elif isinstance(first, tuple):
        for left, right in zip(first, second, strict=True):
            _expect_equal(left, right)
    else:
        assert first == second


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("kind", [Translator, Metered, Vision, Tied])
def test_the_training_is_the_same_as_without_it(kind, averaged, tmp_path, caplog):
    others = [[EMAWeightAveraging(decay=0.5)] if averaged else [] for _ in range(2)]
    alone = _everything(tmp_path / "alone", kind(), *others[0])
    options = {} if issubclass(kind, Translator) else {"metric": "val_loss", "mode": "min"}
    quality = TranslationQuality(every_n_epochs=1, plan="half", **options)
    _expect_equal(_everything(tmp_path / "measured", kind(), *others[1], quality), alone)
    assert _errors(caplog) == []


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sources": SOURCES}, "belong together"),
        ({"sources": SOURCES, "references": REFERENCES[1:]}, "12 sources and 11 references"),
        ({"sources": [], "references": []}, "at least one"),
        ({"metric": "val_loss", "translate": len}, "leave out"),
        ({"translate": len}, "needs sources"),
        ({"beam": 0}, "beam is 0"),
        ({"every_n_epochs": -1}, "every_n_epochs is -1"),
        ({"sentences": 0}, "sentences is 0"),
        ({"samples": -1}, "samples is -1"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(CallbackError, match=message):
        TranslationQuality(**arguments)


def test_a_wrong_plan_is_refused():
    with pytest.raises(PlanError):
        TranslationQuality(plan="no-such-preset")


def _raises(module):
    raise RuntimeError("out of words")


UNUSABLE = [
    ({}, Small, "Small has no validation_text()"),
    ({"sources": SOURCES, "references": REFERENCES}, Small, "Small has no translate(sources)"),
    ({"metric": "val_blue"}, Small, "validation does not log 'val_blue', it logs score, val_loss"),
    ({"tokenize": "klingon"}, Translator, "klingon"),
    ({"sources": SOURCES, "references": REFERENCES, "translate": _raises}, Small, "out of words"),
    ({"sources": SOURCES, "references": REFERENCES, "translate": lambda _: ["one"]}, Small, "gave 1 values, expected"),
    ({"sources": SOURCES, "references": REFERENCES, "translate": lambda _: "one"}, Small, "gave str, expected"),
    ({"metric": lambda _: float("nan")}, Small, "NaN"),
    ({"metric": lambda _: "good"}, Small, "expected a number"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), UNUSABLE)
def test_a_failure_is_logged_and_the_training_continues(arguments, kind, message, tmp_path, caplog):
    logger, _ = _fit(tmp_path, TranslationQuality(plan="half", **arguments), module=kind(), max_epochs=1)
    assert logger.measured() == []
    assert message in _errors(caplog)[0]


def test_a_missing_validation_is_logged_at_the_start(tmp_path, caplog):
    _fit(tmp_path, TranslationQuality(metric="val_loss"), module=Small(), max_epochs=1, limit_val_batches=0)
    (message,) = _errors(caplog)
    assert "a score needs a validation: give the trainer validation data, or metric=…, a function" in message


def test_a_missing_sacrebleu_is_logged(tmp_path, monkeypatch, caplog):
    for name in ("sacrebleu", "sacrebleu.metrics", "sacrebleu.metrics.bleu"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    _fit(tmp_path, TranslationQuality(), max_epochs=1)
    assert "pip install sacrebleu" in _errors(caplog)[0]


def test_a_file_of_another_program_is_left_alone(tmp_path, caplog):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/translations.json").write_text("[]")
    logger, _ = _fit(tmp_path, TranslationQuality(), max_epochs=1)
    assert (tmp_path / "run/translations.json").read_text() == "[]"
    assert len(logger.measured()) == 1
    assert "translations.json" in _errors(caplog)[0]


def test_a_sharded_module_is_logged_at_the_start(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lightning_compress.callbacks.translation.translation_quality.is_sharded", lambda _: True)
    logger, _ = _fit(tmp_path, TranslationQuality(), max_epochs=1)
    assert logger.measured() == []
    assert "sharded" in _errors(caplog)[0]


def test_one_of_several_processes_cannot_validate_alone():
    several = SimpleNamespace(
        enable_validation=True,
        world_size=2,
        lightning_module=Small(),
        strategy=SimpleNamespace(model=Small()),
    )
    assert "2 processes of this strategy cannot validate together" in TranslationQuality(metric="val_loss")._problem(
        several, Small()
    )
