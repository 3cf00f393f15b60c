"""Files of modules that LightningCLI has built: class paths, keywords, and what a hostile file may not do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from pytorch_lightning.cli import LightningCLI, OptimizerCallable
from torch import nn

from lightning_compress import Plan, Raw, Rule, compress, load_from_checkpoint
from lightning_compress.archive import Archive
from lightning_compress.errors import ClassNotAllowedError, MismatchError
from lightning_compress.loading.classes.class_paths import imported_class, refused_paths

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of jsonargparse, about Lightning
    pytest.mark.filterwarnings("ignore:Attribute .* is an instance of `nn.Module`"),
]
EXACT = Plan(Rule("*", Raw(), optional=True))
HERE = __name__
INSTANTIATOR = "pytorch_lightning.cli.instantiate_module"


class Activation(nn.Module):
    def __init__(self, slope: float = 0.1, name: str = "plain"):
        super().__init__()
        self.slope, self.name = slope, name


class Net(nn.Module):
    def __init__(self, width: int = 2, inner: nn.Module | None = None):
        super().__init__()
        self.register_buffer("weight", torch.zeros(width, dtype=torch.uint8))
        self.inner = inner


class Tokenizer:
    """Not a module."""

    def __init__(self, language: str = "de"):
        self.language = language


class Mode(Enum):
    GREEDY = 1
    BEAM = 2


class Injected(pl.LightningModule):
    def __init__(
        self,
        net: nn.Module,
        name: str = "en.de",
        mode: Mode = Mode.GREEDY,
        folder: Path = Path("data"),
        optimizer: OptimizerCallable = torch.optim.Adam,
        sizes: tuple[int, ...] = (1, 2),
        options: dict[str, float] | None = None,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.net, self.name, self.mode, self.folder = net, name, mode, folder
        self.optimizer, self.sizes, self.options = optimizer, sizes, options


class Child(Injected):
    def __init__(self, extra: int, **kwargs):
        super().__init__(**kwargs)
        self.extra = extra


class Loose(pl.LightningModule):
    """Arguments that may be anything."""

    def __init__(
        self, untyped=None, function: Callable | None = None, anything: Any = None, parts: list[nn.Module] = ()
    ):
        super().__init__()
        self.save_hyperparameters()
        self.untyped, self.function, self.anything, self.parts = untyped, function, anything, parts


@dataclass
class Settings:
    folder: str = "data/train.txt"
    optimizer: OptimizerCallable = torch.optim.Adam


class WithSettings(pl.LightningModule):
    def __init__(self, settings: Settings, more: Settings | None = None):
        super().__init__()
        self.save_hyperparameters()
        self.settings = settings


class WithTokenizer(pl.LightningModule):
    def __init__(self, tokenizer: Tokenizer, activations: Iterable[nn.Module] | None = None):
        super().__init__()
        self.save_hyperparameters()
        self.tokenizer = tokenizer


@pytest.fixture(autouse=True)
def _no_command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def _by_cli(kind, *args, **options):
    settings = {"run": False, "save_config_callback": None, "seed_everything_default": False}
    trainer = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return LightningCLI(kind, args=list(args), trainer_defaults=trainer, **settings, **options).model


def test_modules_as_arguments_are_built_as_lightning_builds_them(path):
    model = _by_cli(
        Injected,
        f"--model.net={HERE}.Net",
        "--model.net.width=3",
        f"--model.net.inner={HERE}.Activation",
        "--model.net.inner.slope=0.5",
        "--model.net.inner.name=a.b",
        "--model.mode=BEAM",
        "--model.name=fr.en",
        "--model.folder=some/where.txt",
        "--model.optimizer=torch.optim.SGD",
        "--model.optimizer.lr=0.25",
        '--model.options={"x.y": 1.5}',
    )
    compress(model, EXACT).save(path)
    loaded = load_from_checkpoint(Injected, path)
    assert (type(loaded.net), type(loaded.net.inner)) == (Net, Activation)
    assert (loaded.net.weight.shape, loaded.net.inner.slope, loaded.net.inner.name) == ((3,), 0.5, "a.b")
    assert (loaded.mode, loaded.name, loaded.folder) == (Mode.BEAM, "fr.en", Path("some/where.txt"))
    assert (loaded.sizes, loaded.options) == ((1, 2), {"x.y": 1.5})
    (optimizer,) = [loaded.optimizer([nn.Parameter(torch.ones(1))])]
    assert (type(optimizer), optimizer.defaults["lr"]) == (torch.optim.SGD, 0.25)


def test_keywords_override_what_the_file_notes(path):
    compress(_by_cli(Injected, f"--model.net={HERE}.Net"), EXACT).save(path)
    net = Net()
    loaded = load_from_checkpoint(Injected, path, net=net, mode=Mode.BEAM, name="x")
    assert (loaded.net, loaded.mode, loaded.name) == (net, Mode.BEAM, "x")
    with pytest.raises(MismatchError, match="takes no layers"):
        load_from_checkpoint(Injected, path, layers=3)


def test_the_subclass_that_the_file_names_is_built(path):
    args = [f"--model={HERE}.Child", "--model.extra=7", f"--model.net={HERE}.Net", "--model.name=a/b.txt"]
    compress(_by_cli(Injected, *args, subclass_mode_model=True), EXACT).save(path)
    for kind in (Injected, Child):
        loaded = load_from_checkpoint(kind, path)
        assert (type(loaded), loaded.extra, type(loaded.net), loaded.name) == (Child, 7, Net, "a/b.txt")
    with pytest.raises(ClassNotAllowedError, match=r"Child', which is not an imported subclass of Loose"):
        load_from_checkpoint(Loose, path)


def test_a_function_is_not_given_notes_in_place_of_objects(path):
    compress(_by_cli(Injected, f"--model.net={HERE}.Net"), EXACT).save(path)

    def make(net, name):
        return Injected(net, name)

    with pytest.raises(MismatchError, match="does not hold 'net'"):
        load_from_checkpoint(make, path)
    assert load_from_checkpoint(make, path, net=Net()).name == "en.de"
    assert type(load_from_checkpoint(lambda: Injected(Net()), path)) is Injected


def test_a_data_class_is_built_and_what_it_names_is_checked(path):
    compress(_by_cli(WithSettings, "--model.settings.folder=../a.txt"), EXACT).save(path)
    assert load_from_checkpoint(WithSettings, path).settings.folder == "../a.txt"
    for name in ("settings", "more"):
        assert refused_paths(WithSettings, {name: {"folder": "a.b", "optimizer": "os.system"}}, []) == {
            name: "os.system"
        }


def test_another_instantiator_is_never_called(path):
    for named in ("os.system", f"{HERE}.Net", "pytorch_lightning.cli.LightningCLI", ["x"], None):
        with naming(named):
            _forged(path, Loose, untyped=1, _instantiator=named)
            with pytest.raises(ClassNotAllowedError, match="not a function of Lightning"):
                load_from_checkpoint(Loose, path)


def test_a_class_that_is_not_imported_is_asked_for_or_allowed(path, tmp_path, monkeypatch):
    (tmp_path / "not_imported.py").write_text("import torch\nclass Late(torch.nn.Module): pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    _forged(path, Injected, net={"class_path": "not_imported.Late"}, _instantiator=INSTANTIATOR)
    with pytest.raises(ClassNotAllowedError, match=r"'net' is to be made from 'not_imported\.Late'.*net=…"):
        load_from_checkpoint(Injected, path)
    assert "not_imported" not in sys.modules
    assert type(load_from_checkpoint(Injected, path, net=nn.ReLU()).net) is nn.ReLU
    assert type(load_from_checkpoint(Injected, path, allow=["not_imported.*"]).net).__name__ == "Late"
    monkeypatch.delitem(sys.modules, "not_imported")


def test_a_class_that_is_no_module_is_asked_for_or_allowed(path):
    compress(_by_cli(WithTokenizer, f"--model.tokenizer={HERE}.Tokenizer"), EXACT).save(path)
    with pytest.raises(ClassNotAllowedError, match="'tokenizer' is to be made from"):
        load_from_checkpoint(WithTokenizer, path)
    assert load_from_checkpoint(WithTokenizer, path, allow=[f"{HERE}.Tokenizer"]).tokenizer.language == "de"
    assert load_from_checkpoint(WithTokenizer, path, tokenizer=Tokenizer("fr")).tokenizer.language == "fr"


POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "harmed"]}}
HOSTILE = {
    "a class": POPEN,
    "a class in a list": [1, [POPEN]],
    "a class in a dictionary": {"a": {"b": POPEN}},
    "a class inside a good one": {"class_path": f"{HERE}.Net", "init_args": {"inner": POPEN}},
    "a class beside the arguments": {"class_path": f"{HERE}.Net", "dict_kwargs": {"inner": POPEN}},
    "a class under a dotted key": {"a.class_path": "subprocess.Popen"},
    "a class in YAML": "{class_path: subprocess.Popen, init_args: {args: [touch, harmed]}}",
    "a class in escaped JSON": '{"class\\u005fpath": "subprocess.Popen", "init_args": {"args": ["touch", "harmed"]}}',
    "no text as class": {"class_path": ["os", "system"]},
    "a function as class": {"class_path": "os.system"},
    "a path of generics": {"class_path": f"{HERE}.Net[os.system]"},
}
TEXTS = {
    "a function": "os.system",
    "a function of torch": "torch.load",
    "a built-in function": "builtins.exec",
    "a module": "antigravity",
    "a configuration file": "config.yaml",
    "a configuration file without a dot": "config",
    "a list in YAML": "- os",
    "an address": "https://example.org/config.yaml",
}


def test_nothing_else_is_built_or_imported_for_a_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("config", "config.yaml"):
        Path(name).write_text("class_path: subprocess.Popen\ninit_args: {args: [touch, harmed]}\n", encoding="utf-8")
    before = set(sys.modules)
    places = [(case, value, ("untyped", "anything", "function", "parts")) for case, value in HOSTILE.items()]
    for case, value, names in [*places, *((case, value, ("function", "parts")) for case, value in TEXTS.items())]:
        for name in names:
            with naming((case, name)):
                held = [value] if name == "parts" and isinstance(value, str) else value
                _forged(path, Loose, **{name: held}, _instantiator=INSTANTIATOR)
                with pytest.raises(ClassNotAllowedError, match=f"'{name}' is to be made from"):
                    load_from_checkpoint(Loose, path)
    for case, record in {
        "at the top": {"untyped.class_path": "os.system"},
        "as kind": {"_class_path": "os.system"},
    }.items():
        with naming(case):
            _forged(path, Loose, **record, _instantiator=INSTANTIATOR)
            if case == "as kind":
                with pytest.raises(ClassNotAllowedError):
                    load_from_checkpoint(Loose, path)
            else:
                assert load_from_checkpoint(Loose, path).untyped is None
    assert not Path("harmed").exists()
    assert not {"antigravity", "not_imported"} & (set(sys.modules) - before)


def test_texts_that_are_only_texts_are_not_refused():
    values = {"name": "os.system", "mode": "BEAM", "folder": "../x.yaml", "sizes": [1], "options": {"a.b": 1.0}}
    assert refused_paths(Injected, values, []) == {}
    assert refused_paths(Child, values | {"extra": 1}, []) == {}
    loose = {"untyped": "en.de: x", "anything": ["os.system"], "function": "relu", "parts": [f"{HERE}.Net", "ReLU"]}
    assert refused_paths(Loose, loose, []) == {}
    assert refused_paths(Loose, {"function": "os.system", "other": "1.5e-3"}, ["os.*"]) == {}


def test_imported_classes_are_found_without_importing():
    assert imported_class("torch.nn.Linear") is nn.Linear
    assert imported_class(f"{HERE}.Mode") is Mode
    for path in (
        "torch.nn.functional.relu",
        "no_such_package.Thing",
        "Net",
        "",
        "torch.nn.Linear.forward.x",
        "torch.no",
    ):
        with naming(path):
            assert imported_class(path) is None


def _forged(path, kind, **hyper_parameters):
    """A file of a module with these hyper-parameters."""
    model = kind.__new__(kind)
    pl.LightningModule.__init__(model)
    archive = compress(model, EXACT)
    manifest = replace(archive.manifest, hyper_parameters=hyper_parameters, class_path=None)
    path.unlink(missing_ok=True)
    Archive(manifest, archive.streams).save(path)
