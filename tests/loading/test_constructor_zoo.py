"""Each form of constructor that Lightning rebuilds from its checkpoint is rebuilt alike from the compressed file."""

from __future__ import annotations

import copy
import json
from argparse import Namespace
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from torch import nn

from lightning_compress import CompressCheckpoint, Plan, Raw, Rule, compress, expand, load_from_checkpoint
from lightning_compress.errors import MismatchError
from lightning_compress.weights import CheckpointRecord

EXACT = Plan(Rule("*", Raw()))


class Base(pl.LightningModule):
    """Remembers what its constructor was given; its one weight has as many values as ``width``."""

    def keep(self, width=2, **given):
        self.given = copy.deepcopy({"width": width, **given})
        self.register_buffer("weight", torch.zeros(width, dtype=torch.uint8))  # bytes are coded quickly


class Plainly(Base):
    def __init__(self, width, value=None, other=3):
        super().__init__()
        self.save_hyperparameters()
        self.keep(width, value=value, other=other)


class NotSaved(Base):
    def __init__(self, width=2):
        super().__init__()
        self.keep(width)


class Keywords(Base):
    def __init__(self, width, **more):
        super().__init__()
        self.save_hyperparameters()
        self.keep(width, **more)


class Positions(Base):
    def __init__(self, *sizes, width=2):
        super().__init__()
        self.save_hyperparameters()
        self.keep(width)


class KeywordOnly(Base):
    def __init__(self, *, width, value="x"):
        super().__init__()
        self.save_hyperparameters()
        self.keep(width, value=value)


class Ignoring(Base):
    def __init__(self, width, net=None, logger=False):
        super().__init__()
        self.save_hyperparameters(ignore=["net"], logger=False)
        self.keep(width, logger=logger)
        self.net = net or nn.Identity()


class Named(Base):
    def __init__(self, width, value, other=1):
        super().__init__()
        self.save_hyperparameters("width", "value")
        self.keep(width, value=value, other=other)


class Config(Base):
    def __init__(self, cfg):
        super().__init__()
        self.save_hyperparameters(cfg)
        self.keep(self.hparams.width, cfg=dict(cfg if isinstance(cfg, dict) else vars(cfg)))


class ConfigAndMore(Base):
    def __init__(self, cfg, other=4):
        super().__init__()
        self.save_hyperparameters(cfg)
        self.keep(cfg["width"], cfg=dict(cfg), other=other)


class ConfigAsArgument(Base):
    def __init__(self, cfg):
        super().__init__()
        self.save_hyperparameters()
        self.keep(cfg["width"], cfg=cfg)


class Unnamed(Base):
    """What is saved is no argument, so Lightning gives each item as a keyword."""

    def __init__(self, width=2, value=0):
        super().__init__()
        self.save_hyperparameters({"width": width, "value": value})
        self.keep(width, value=value)


class Child(Plainly):
    def __init__(self, depth, **kwargs):
        super().__init__(**kwargs)
        self.save_hyperparameters()
        self.given["depth"] = depth


class ChildThatFixes(Plainly):
    def __init__(self, depth=1):
        super().__init__(width=4, value="fixed")
        self.save_hyperparameters(ignore=["width", "value", "other"])
        self.given["depth"] = depth


class Changing(Base):
    """Changes its argument, and its hyper-parameters after they were saved."""

    def __init__(self, width, options):
        super().__init__()
        self.save_hyperparameters()
        self.keep(width, options=options)
        options.pop("once", None)
        self.hparams.later = [1, (2, 3)]


class Late(Base):
    def __init__(self, width):
        super().__init__()
        self.save_hyperparameters()
        self.given = {"width": width}

    def configure_model(self):
        if not hasattr(self, "weight"):
            self.register_buffer("weight", torch.zeros(self.hparams.width, dtype=torch.uint8))


class Reserved(Base):
    def __init__(
        self, width, source, path, cls, strict, factory, tensors, excluded, stored, overrides, allow, max_bytes
    ):
        super().__init__()
        self.save_hyperparameters()
        given = dict(self.hparams)
        self.keep(**given)


class Factory(Plainly):
    @classmethod
    def small(cls, value):
        return cls(3, value)


class Color(Enum):
    RED = 1


@dataclass
class Sizes:
    width: int = 3


Pair = namedtuple("Pair", "a b")
NESTED = {
    "z": {"b": 1, "a": [True, 1, 1.0, None, (1, [2], ("x", {"k": float("inf")}))]},
    "a": OrderedDict(y=torch.float16, x=torch.Size([2, 3])),
    "empty": {},
    "keys": {3: "three", None: 0, 2.5: -0.0, True: "yes"},
    "text": "größe \N{SNOWMAN} \n\t\"'\\ $tuple",
    "$tuple": [1],
}
RESERVED = {
    "source": "de", "path": "p", "cls": 1, "strict": "often", "factory": None, "tensors": (1,), "excluded": [],
    "stored": {}, "overrides": 5, "allow": "all", "max_bytes": 7,
}  # fmt: skip
CASES = {
    "an argument and defaults": lambda: Plainly(3),
    "nothing saved": NotSaved,
    "None over a default": lambda: Plainly(3, None, None),
    "true, not one": lambda: Plainly(3, True, 1),
    "one as float": lambda: Plainly(3, 1.0, False),
    "infinity": lambda: Plainly(3, float("-inf")),
    "a large number": lambda: Plainly(3, 2**200, -(2**63)),
    "a float to its last bit": lambda: Plainly(3, 0.1 + 0.2, 5e-324),
    "text": lambda: Plainly(3, "größe \N{SNOWMAN}", ""),
    "a tuple": lambda: Plainly(3, (1, 2)),
    "a list of tuples": lambda: Plainly(3, [(0.9, 0.98), ()]),
    "order of a dictionary": lambda: Plainly(3, {"ukv": 1, "ecmwf": 2, "a": 3}),
    "numbers as keys": lambda: Plainly(3, {10: "a", 9: "b"}),
    "an empty dictionary": lambda: Plainly(3, {}, []),
    "an ordered dictionary": lambda: Plainly(3, OrderedDict(b=1, a=2)),
    "a dtype": lambda: Plainly(3, torch.bfloat16),
    "a size": lambda: Plainly(3, torch.Size([4, 5])),
    "all of it nested": lambda: Plainly(3, NESTED),
    "a NumPy scalar": lambda: Plainly(3, np.float32(0.1), np.int64(7)),
    "keywords": lambda: Keywords(3, rate=0.1, names=("a", "b")),
    "positions": lambda: Positions(),
    "keyword-only arguments": lambda: KeywordOnly(width=3, value=(1,)),
    "ignored and not logged": lambda: Ignoring(3),
    "only some saved": lambda: Named(3, {"b": 1, "a": 2}, 1),
    "a dictionary under its own name": lambda: Config({"width": 3, "rates": (1, 2), "b": 1, "a": 2}),
    "a namespace under its own name": lambda: Config(Namespace(width=3, rates=(1, 2))),
    "a configuration and an argument": lambda: ConfigAndMore({"width": 3}),
    "a configuration as an argument": lambda: ConfigAsArgument({"width": 3, 5: "five"}),
    "a dictionary that is no argument": lambda: Unnamed(3, (4,)),
    "inheritance": lambda: Child(2, width=3, value=(1,)),
    "inheritance with fixed arguments": lambda: ChildThatFixes(5),
    "changed after it was saved": lambda: Changing(3, {"once": 1, "kept": (2,)}),
    "configure_model": lambda: _configured(Late(3)),
    "names of our own arguments": lambda: Reserved(3, **RESERVED),
    "a class method as constructor": lambda: Factory.small([1]),
}
PICKLED = {"a NumPy scalar"}  # torch.load needs weights_only=False for Lightning's own file


@pytest.fixture(scope="module")
def trainer():
    return pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)


def test_every_form_is_rebuilt_as_lightning_rebuilds_it(tmp_path, trainer):
    for number, (case, make) in enumerate(CASES.items()):
        with naming(case):
            model = make()
            model.weight.random_(1, 255)
            folder = tmp_path / str(number)
            folder.mkdir()
            checkpoint = _dump(trainer, model, folder / "theirs.ckpt")
            _save(model, checkpoint, folder / "ours.safetensors")
            expand(folder / "ours.safetensors", folder / "again.ckpt")
            kind, safe = type(model), case not in PICKLED
            theirs = kind.load_from_checkpoint(folder / "theirs.ckpt", weights_only=safe)
            _expect_alike(load_from_checkpoint(kind, folder / "ours.safetensors"), theirs)
            _expect_alike(kind.load_from_checkpoint(folder / "again.ckpt", weights_only=safe), theirs)
            again = torch.load(folder / "again.ckpt", weights_only=safe)
            expected = {"hyper_parameters": {}} | {n: v for n, v in checkpoint.items() if v is not None}
            for part in (again, expected):
                part.pop("loops", None)
                part.pop("state_dict")
            assert _described(dict(sorted(again.items()))) == _described(dict(sorted(expected.items())))


def test_a_live_module_and_a_checkpoint_give_the_same_file(tmp_path, trainer):
    for case in ("all of it nested", "a namespace under its own name", "inheritance", "nothing saved"):
        with naming(case):
            model = CASES[case]()
            checkpoint = _dump(trainer, model, tmp_path / "m.ckpt")
            by_hook = _save(model, checkpoint, tmp_path / "hook.safetensors").manifest
            live, read = compress(model, EXACT).manifest, compress(tmp_path / "m.ckpt", EXACT).manifest
            for name in ("hyper_parameters", "hparams_name", "checkpoint", "hyper_parameters_left_out"):
                values = [getattr(manifest, name) for manifest in (by_hook, live, read)]
                assert _described(values[0]) == _described(values[1]) == _described(values[2])


# What a file cannot hold


NOT_HELD = {
    "an enum": Color.RED,
    "a data class": Sizes(4),
    "a path": Path("data"),
    "a named tuple": Pair(1, 2),
    "a set": {1},
    "a module": nn.ReLU(),
    "a function": torch.relu,
    "a tensor": torch.ones(2),
    "a class": Plainly,
    "a namespace": Namespace(a=1),
    "an attribute dictionary": pl.utilities.parsing.AttributeDict(a=1),
    "a tuple as key": {(1, 2): 3},
    "bytes": b"x",
    "deep inside": {"a": [{"b": (Color.RED,)}]},
}


@pytest.mark.filterwarnings("ignore:Attribute 'value' is an instance of `nn.Module`")
def test_what_cannot_be_held_is_asked_for_by_name_even_with_a_default(tmp_path):
    path = tmp_path / "m.safetensors"
    for case, value in NOT_HELD.items():
        with naming(case):
            compress(Plainly(3, value), EXACT).save(path)
            with pytest.raises(MismatchError, match=r"Plainly cannot be built .*'value': give it as a keyword.*width"):
                load_from_checkpoint(Plainly, path)
            assert load_from_checkpoint(Plainly, path, value=value).hparams.value is value


def test_it_is_asked_for_in_every_form(tmp_path):
    path = tmp_path / "m.safetensors"
    models = {
        "a configuration": (Config({"width": 3, "value": Color.RED}), {"value": Color.RED}),
        "keywords": (Keywords(3, value=Color.RED), {"value": Color.RED}),
        "a required one with its type": (_Typed(Sizes(4)), {"value": Sizes(4)}),
    }
    for case, (model, keywords) in models.items():
        with naming(case):
            compress(model, EXACT).save(path)
            with pytest.raises(MismatchError, match="'value'"):
                load_from_checkpoint(type(model), path)
            _expect_alike(load_from_checkpoint(type(model), path, **keywords), model)
    with pytest.raises(MismatchError, match=r"'value' \(Sizes\)"):
        load_from_checkpoint(_Typed, path)


class _Typed(Base):
    def __init__(self, value: Sizes):
        super().__init__()
        self.save_hyperparameters()
        self.keep(value=value)


def test_what_the_constructor_does_not_take_is_not_asked_for(tmp_path):
    path = tmp_path / "m.safetensors"
    compress(Plainly(2, Color.RED), EXACT).save(path)
    assert load_from_checkpoint(NotSaved, path).given == {"width": 2}
    whole = Config({"width": 2, "value": Color.RED})
    compress(whole, EXACT).save(path)
    given = {"width": 2, "value": Color.RED}
    assert load_from_checkpoint(Config, path, cfg=given).given == {"width": 2, "cfg": given}


def test_a_container_of_omegaconf_is_asked_for_as_a_whole(tmp_path):
    container = type("DictConfig", (dict,), {"__module__": "omegaconf.dictconfig"})
    model = Config({"width": 3})
    model._hparams = container(width=3)
    compress(model, EXACT).save(tmp_path / "m.safetensors")
    read = {"hyper_parameters": {"width": object()}, "hparams_name": "cfg", "hparams_type": object()}
    assert CheckpointRecord.of_checkpoint(read).hyper_parameters_left_out == ("cfg",)
    with pytest.raises(MismatchError, match="'cfg'"):
        load_from_checkpoint(Config, tmp_path / "m.safetensors")
    assert load_from_checkpoint(Config, tmp_path / "m.safetensors", cfg={"width": 3}).given["width"] == 3


# Keywords of the caller


def test_keywords_override_in_every_form(tmp_path):
    path = tmp_path / "m.safetensors"
    for case, make, keywords, expected in (
        ("arguments", lambda: Plainly(3, 1), {"value": 2}, {"width": 3, "value": 2, "other": 3}),
        ("a configuration", lambda: Config({"a": 1, "width": 3}), {"a": 2}, {"width": 3, "cfg": {"a": 2, "width": 3}}),
        ("a new item", lambda: Config({"width": 3}), {"b": 2}, {"width": 3, "cfg": {"width": 3, "b": 2}}),
        ("beside it", lambda: ConfigAndMore({"width": 3}), {"other": 9},
         {"width": 3, "cfg": {"width": 3, "other": 9}, "other": 9}),
        ("keywords", lambda: Keywords(3, a=1), {"b": 2}, {"width": 3, "a": 1, "b": 2}),
        ("our own names", lambda: Reserved(3, **RESERVED), {"source": 8, "path": 9, "cls": 0, "stored": 1},
         {"width": 3, **RESERVED, "source": 8, "path": 9, "cls": 0, "stored": 1}),
    ):  # fmt: skip
        with naming(case):
            compress(make(), EXACT).save(path)
            assert _described(load_from_checkpoint(type(make()), path, **keywords).given) == _described(expected)


def _described(value):
    """The value with the type of everything in it, and the order of dictionaries."""
    if isinstance(value, dict):
        return type(value), [(_described(key), _described(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [_described(item) for item in value]
    return type(value), repr(value)


def _expect_alike(module, other):
    assert type(module) is type(other)
    assert _described(module.given) == _described(other.given)
    assert _described(module.hparams) == _described(other.hparams)
    assert torch.equal(module.weight, other.weight)


def _configured(model):
    model.configure_model()
    return model


def _dump(trainer, model, path):
    """A checkpoint as the trainer saves it."""
    trainer.strategy.connect(model)
    model.trainer = trainer
    checkpoint = trainer._checkpoint_connector.dump_checkpoint(weights_only=True)
    torch.save(checkpoint, path)
    return checkpoint


def _save(model, checkpoint, path):
    """The companion file of a checkpoint."""
    record = CheckpointRecord.of_checkpoint(checkpoint)
    archive = compress(CompressCheckpoint(EXACT).weights_of(model, checkpoint["state_dict"], record), EXACT)
    archive.save(path)
    return archive


def test_the_command_prints_every_value_as_json(tmp_path, run):
    compress(Plainly(3, NESTED, np.float32(0.5)), EXACT).save(tmp_path / "m.safetensors")
    status, out, _ = run("inspect", str(tmp_path / "m.safetensors"), "--json")
    printed = json.loads(out)["hyper_parameters"]
    assert (status, printed["other"]) == (0, {"$numpy": ["float32", 0.5]})
