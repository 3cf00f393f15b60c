"""A small Transformer, trained for seconds on the generated language, and all experiments run on it once."""

import pytest
import yaml

from recipes.command import run_trainer
from recipes.demo.grammar import write_corpus
from recipes.paper.execution.runner import run
from recipes.paper.measurement.context import experiment_context
from recipes.paper.settings import Settings

SIZES = {"width": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 2, "feed_forward": 64, "norm": "pre"}
CHOICES = {
    "shares": (0.0, 0.4),
    "bits": (3,),
    "classes": ("encoder.0", "softmax"),
    "prune": 0.4,
    "index_bits": 3,
    "coverage": 0.98,
    "tolerance": 1.0,
}


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """Folder of a generated corpus: 1,000 training and 30 validation pairs, endings en and de."""
    folder = tmp_path_factory.mktemp("text")
    write_corpus(folder, train=1000, valid=30, test=30, seed=5)
    return folder


@pytest.fixture(scope="session")
def checkpoint(text, tmp_path_factory):
    """The checkpoint of a short training, about 7 BLEU."""
    folder = tmp_path_factory.mktemp("model")
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 4,
            "logger": False,
            "enable_model_summary": False,
            "default_root_dir": str(folder),
        },
        "checkpoint": {"dirpath": str(folder), "filename": "best"},
        "compress": {"plan": "half", "on_error": "raise"},
        "model": {
            "class_path": "recipes.transformer.TransformerTranslation",
            "init_args": {**SIZES, "learning_rate": 0.01, "warmup_steps": 20, "test_beam": 2},
        },
        "data": {"folder": str(text), "source": "en", "target": "de", "tokens": 600},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_trainer(["fit", "--config", str(folder / "config.yaml")])
    return folder / "best.ckpt"


@pytest.fixture(autouse=True)
def unpublished(monkeypatch):
    """Results are neither drawn nor logged."""
    monkeypatch.setattr("recipes.paper.execution.runner.publish", lambda out, name, logger: None)


@pytest.fixture
def settings(checkpoint, text, tmp_path):
    """Makes settings whose results go to a folder of the test's own."""

    def make(**changes):
        return Settings(checkpoint, text, **{"out": tmp_path / "out", "beam": 1, **changes})

    return make


@pytest.fixture
def context(settings):
    """A experiment_context that has measured nothing."""
    with experiment_context(settings()) as opened:
        yield opened


@pytest.fixture(scope="session")
def choices():
    """What the experiments are asked for in these tests."""
    return CHOICES


@pytest.fixture(scope="session")
def results(checkpoint, text, choices, tmp_path_factory):
    """Folder of the results of all experiments, with few points each."""
    out = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_compress.coding.lanes.coder.is_adaptive", lambda statistics: False)
        patch.setattr("lightning_compress.coding.zstandard.Zstandard.lower_bound", lambda self, statistics: None)
        patch.setattr("recipes.paper.execution.runner.publish", lambda out, name, logger: None)
        run(Settings(checkpoint, text, out, beam=1, **choices), "all")
    return out
