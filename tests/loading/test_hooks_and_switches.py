"""What hooks read and write of a checkpoint, Lightning's switches for loading, and arguments that could collide."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from torch import nn

from lightning_compress import CompressCheckpoint, Plan, Raw, Rule, compress, expand, load_from_checkpoint
from lightning_compress.archive import Archive
from lightning_compress.errors import MismatchError
from lightning_compress.loading import StoredModule, build
from lightning_compress.weights import CheckpointRecord, Weights

pytestmark = pytest.mark.filterwarnings(
    "ignore:`isinstance.treespec", "ignore:.*configure_optimizers` returned `None`", "ignore:`training_step` returned"
)
EXACT = Plan(Rule("*", Raw()))


class Counts(pl.LightningModule):
    """One tensor of bytes, which are coded quickly."""

    def __init__(self, size=3):
        super().__init__()
        self.save_hyperparameters()
        self.register_buffer("counts", torch.arange(size, dtype=torch.uint8))

    def training_step(self, batch, index):
        return None

    def configure_optimizers(self):
        return None

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.zeros(2, 1))

    def test_dataloader(self):
        return self.train_dataloader()

    def test_step(self, batch, index):
        pass


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def _save(model, path):
    archive = compress(model, EXACT)
    archive.save(path)
    return archive.manifest


# What on_save_checkpoint adds


class Adds(Counts):
    def on_save_checkpoint(self, checkpoint):
        self.calls = getattr(self, "calls", 0) + 1
        random.random()
        checkpoint["vocabulary"] = {"b": (1, 2), "a": float("inf")}
        checkpoint["average"] = torch.ones(2)
        checkpoint["long"] = "x" * 70_000
        checkpoint["huge"] = list(range(1_000_000))
        checkpoint[5] = "no text"
        del checkpoint["hyper_parameters"]["size"]


def test_what_the_hook_adds_is_stored_with_epoch_and_step():
    manifest = compress(Adds(), EXACT).manifest
    assert dict(manifest.checkpoint) == {"epoch": 0, "global_step": 0, "vocabulary": {"b": (1, 2), "a": float("inf")}}
    assert list(manifest.checkpoint["vocabulary"]) == ["b", "a"]
    assert manifest.checkpoint_left_out == ("average", "long", "huge", "5")
    assert dict(manifest.hyper_parameters) == {}


def test_asking_the_hook_changes_neither_the_module_nor_random_numbers():
    model = Adds()
    before, numbers = dict(vars(model)), random.getstate()
    compress(model, EXACT)
    assert vars(model) == before
    assert dict(model.hparams) == {"size": 3}
    assert random.getstate() == numbers


def test_a_hook_that_fails_is_one_warning(caplog):
    class Fails(Counts):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["half"] = 1
            raise ValueError("no trainer")

    with caplog.at_level(logging.WARNING, "lightning_compress"):
        manifest = compress(Fails(), EXACT).manifest
    assert dict(manifest.checkpoint) == {"epoch": 0, "global_step": 0}
    (record,) = caplog.records
    assert "on_save_checkpoint of Fails failed" in record.getMessage()
    assert "no trainer" in record.getMessage()


def test_other_modules_and_checkpoints_have_no_such_values(tmp_path):
    module = nn.Linear(2, 2)
    module.on_save_checkpoint = lambda checkpoint: pytest.fail("only Lightning's modules have this hook")
    assert compress(module, EXACT).manifest.checkpoint == {}
    content = {"state_dict": module.state_dict(), "epoch": 3, "best": 0.5}
    torch.save(content, tmp_path / "plain.ckpt")
    assert compress(tmp_path / "plain.ckpt", EXACT).manifest.checkpoint == {}
    torch.save(content | {"pytorch-lightning_version": "2.6.0", "loops": {}}, tmp_path / "lightning.ckpt")
    assert compress(tmp_path / "lightning.ckpt", EXACT).manifest.checkpoint == {"epoch": 3, "best": 0.5}


class SavesEachEpoch(Counts):
    calls = 0

    def on_save_checkpoint(self, checkpoint):
        type(self).calls += 1
        checkpoint["call"] = self.calls

    def on_train_epoch_end(self):
        self.trainer.save_checkpoint(f"{self.trainer.default_root_dir}/{self.current_epoch}.ckpt")


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.zeros(2, 1))

    def state_dict(self):
        return {"seen": 5}


def test_the_callback_stores_the_values_of_each_checkpoint_by_one_call(tmp_path):
    """The weights stay equal, so the second file is a copy of the first but for these values."""
    SavesEachEpoch.calls = 0
    _trainer(tmp_path, CompressCheckpoint(EXACT), max_epochs=2).fit(SavesEachEpoch(), datamodule=Data())
    assert SavesEachEpoch.calls == 2
    for epoch in (0, 1):
        checkpoint = torch.load(tmp_path / f"{epoch}.ckpt", weights_only=True)
        stored = dict(Archive.open(tmp_path / f"{epoch}.compressed.safetensors").manifest.checkpoint)
        assert stored == {"epoch": epoch, "global_step": checkpoint["global_step"], "call": epoch + 1}


# What on_load_checkpoint reads


class Reads(Counts):
    reads = staticmethod(lambda checkpoint: None)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["labels"] = ["a", "b"]
        checkpoint["tensor"] = torch.ones(1)

    def compression_assets(self):
        return {"words.txt": b"one two"}

    def on_load_checkpoint(self, checkpoint):
        self.found = self.reads(checkpoint)


def _each_way(kind, path, tmp_path):
    """The module, loaded by the function and by a trainer."""
    yield "function", lambda: load_from_checkpoint(kind, path)
    model = kind()
    trainer = _trainer(tmp_path, CompressCheckpoint(EXACT))
    yield "trainer", lambda: (trainer.test(model, ckpt_path=str(path), verbose=False), model)[1]


def test_the_hook_reads_what_a_checkpoint_holds(path, tmp_path):
    class All(Reads):
        reads = staticmethod(dict)

    _save(All(), path)
    for case, load in _each_way(All, path, tmp_path):
        with naming(case):
            found = load().found
            assert torch.equal(found["state_dict"]["counts"], torch.arange(3, dtype=torch.uint8))
            assert found["hyper_parameters"] == {"size": 3}
            assert (found["hparams_name"], found["epoch"], found["global_step"]) == ("kwargs", 0, 0)
            assert (found["labels"], found["assets"]) == (["a", "b"], {"words.txt": b"one two"})
            assert found["pytorch-lightning_version"] == pl.__version__


def test_a_key_that_is_not_there_is_named_with_the_file(path, tmp_path):
    reads = {
        "optimizer_states": lambda c: c["optimizer_states"],
        "tensor": lambda c: c["tensor"],
        "gone": lambda c: c.pop("gone"),
        "deleted": lambda c: c.__delitem__("deleted"),
        "other.weight": lambda c: c["state_dict"]["other.weight"],
        "depth": lambda c: c["hyper_parameters"]["depth"],
    }
    for key, read in reads.items():
        kind = type("Kind", (Reads,), {"reads": staticmethod(read)})
        _save(kind(), path)
        for case, load in _each_way(kind, path, tmp_path):
            with naming((key, case)), pytest.raises(MismatchError) as caught:
                load()
            assert repr(key) in str(caught.value)
            assert "m.safetensors" in str(caught.value)
            assert ("left out" in str(caught.value)) == (key == "tensor")
            assert caught.value.__cause__ is None


def test_other_errors_of_the_hook_are_its_own(path, tmp_path):
    def lookup(checkpoint):
        return {"a": 1}["b"]

    def tolerant(checkpoint):
        try:
            return checkpoint["missing"]
        except KeyError:
            return checkpoint.get("missing", checkpoint.pop("other", "default"))

    own = type("Own", (Reads,), {"reads": staticmethod(lookup)})
    _save(own(), path)
    for case, load in _each_way(own, path, tmp_path):
        with naming(case), pytest.raises(KeyError) as caught:
            load()
        assert not isinstance(caught.value, MismatchError)
    careful = type("Careful", (Reads,), {"reads": staticmethod(tolerant)})
    assert load_from_checkpoint(careful, path).found == "default"


def test_a_checkpoint_value_takes_no_place_of_lightnings_own(path):
    archive = compress(Counts(), EXACT)
    forged = {"state_dict": {"counts": 1}, "callbacks": {"x": 1}, "pytorch-lightning_version": "0.1", "assets": "mine"}
    Archive(replace(archive.manifest, checkpoint=forged), archive.streams).save(path)
    checkpoint = StoredModule.of_archive(Archive.open(path), "m").as_checkpoint("2.6.0")
    assert torch.equal(checkpoint["state_dict"]["counts"], torch.arange(3, dtype=torch.uint8))
    assert "callbacks" not in checkpoint
    assert (checkpoint["pytorch-lightning_version"], checkpoint["assets"]) == ("2.6.0", "mine")


def test_attached_files_survive_expansion_and_compression(path, tmp_path):
    class All(Reads):
        reads = staticmethod(dict)

    _save(All(), path)
    expand(path, tmp_path / "again.ckpt")
    assert All.load_from_checkpoint(tmp_path / "again.ckpt", weights_only=True).found["labels"] == ["a", "b"]
    again = Weights.from_checkpoint(tmp_path / "again.ckpt")
    assert again.assets == {"words.txt": b"one two"}
    assert again.checkpoint_left_out == ()


# Switches


class Part(Counts):
    """Its checkpoints hold only the adapter."""

    def __init__(self, strict=False):
        super().__init__()
        self.strict_loading = strict
        self.register_buffer("adapter", torch.zeros(2, dtype=torch.uint8))

    def state_dict(self, *args, **kwargs):
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if "adapter" in name}


def test_strict_loading_decides_unless_the_argument_does(path, tmp_path):
    model = Part()
    model.adapter.fill_(7)
    _save(model, path)
    for case, load in _each_way(Part, path, tmp_path):
        with naming(case):
            assert torch.equal(load().adapter, model.adapter)
    assert torch.equal(load_from_checkpoint(Part, path, strict=False).counts, Counts().counts)
    for strict, own in ((True, False), (False, True)):
        with naming(own), pytest.raises(MismatchError, match=rf"strict={strict} contradicts Part.strict_loading={own}"):
            load_from_checkpoint(partial(Part, strict=own), path, strict=strict)
    with pytest.raises(MismatchError, match=r"(?s)m\.safetensors does not fit the module.*counts"):
        load_from_checkpoint(partial(Part, strict=True), path)

    class ByProperty(Counts):
        strict_loading = property(lambda self: False, lambda self, value: None)

    assert torch.equal(load_from_checkpoint(ByProperty, path).counts, Counts().counts)
    with pytest.raises(MismatchError, match="counts"):
        load_from_checkpoint(ByProperty, path, strict=True)


class Renames(Counts):
    """Its state has other names than its tensors, and an older name is still read."""

    def state_dict(self, *args, **kwargs):
        return {f"new.{name}": value for name, value in super().state_dict(*args, **kwargs).items()}

    def load_state_dict(self, state, strict=True):
        own = {name.removeprefix("new.").removeprefix("old."): value for name, value in state.items()}
        size = len(own["counts"])
        if size != len(self.counts):
            self.counts = torch.zeros(size, dtype=torch.uint8)
        return super().load_state_dict(own, strict=strict)


class Hooked(Counts):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self._convert)

    @staticmethod
    def _convert(module, state, prefix, *rest):
        if "old.counts" in state:
            state["counts"] = state.pop("old.counts")


def test_the_modules_own_load_state_dict_decides(path, tmp_path):
    values = torch.tensor([5, 6, 7], dtype=torch.uint8)
    for kind, names in ((Renames, ("new.counts", "old.counts", "counts")), (Hooked, ("old.counts", "counts"))):
        for name in names:
            with naming((kind.__name__, name)):
                compress({name: values}, EXACT).save(path)
                for _, load in _each_way(kind, path, tmp_path):
                    assert torch.equal(load().counts, values)
    compress({"new.counts": values[:2]}, EXACT).save(path)
    assert torch.equal(load_from_checkpoint(Renames, path).counts, values[:2])
    compress({"counts": values, "more": values}, EXACT).save(path)
    with pytest.raises(MismatchError, match=r"(?s)m\.safetensors does not fit the module: .*more"):
        load_from_checkpoint(Renames, path)


def test_a_lazy_module_takes_the_shapes_of_the_file(path):
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(2)

    compress({"layer.weight": torch.ones(2, 3), "layer.bias": torch.ones(2)}, EXACT).save(path)
    assert torch.equal(load_from_checkpoint(Lazy, path).layer.weight, torch.ones(2, 3))


# Arguments


class Positional(Counts):
    def __init__(self, size, rate=0.5, /, *, name="x", strict="a"):
        super().__init__(size)
        self.save_hyperparameters()
        self.given = (rate, name, strict)


class Takes(nn.Module):
    def __init__(this, **everything):  # noqa: N805
        super().__init__()
        this.given = everything


def test_arguments_reach_the_constructor_whatever_their_name(path):
    _save(Positional(2, 0.25, strict="b"), path)
    assert load_from_checkpoint(Positional, path).given == (0.25, "x", "b")
    assert load_from_checkpoint(partial(Positional, strict="c"), path, strict=True, name="y").given == (0.25, "y", "c")
    archive = compress({"w": torch.zeros(1)}, EXACT)
    names = ("self", "source", "path", "cls", "factory", "strict", "excluded", "allow", "max_bytes", "overrides")
    stored = StoredModule({}, CheckpointRecord(hyper_parameters={"this": 0} | dict.fromkeys(names, 1)))
    assert build(Takes, stored, {"path": 2}).given == dict.fromkeys(names, 1) | {"path": 2}
    with pytest.raises(MismatchError, match="takes no this"):
        build(Takes, stored, {"this": 2})
    assert archive.manifest.hyper_parameters == {}


def test_a_missing_argument_with_a_name_of_ours_is_to_be_bound():
    def make(strict):
        raise AssertionError

    with pytest.raises(MismatchError, match=r"functools\.partial\(.*make, strict=…\)"):
        build(make, StoredModule({}))


def test_a_file_of_an_earlier_version_loads_as_before():
    archive = compress(Weights.from_state_dict({"counts": torch.arange(3, dtype=torch.uint8)}), EXACT)
    for version, asked in ((1, False), (2, False), (3, True)):
        manifest = replace(archive.manifest, format_version=version, hyper_parameters_left_out=("size",))
        stored = StoredModule.of_archive(Archive(manifest, archive.streams), "old")
        with naming(version):
            if asked:
                with pytest.raises(MismatchError, match="'size'"):
                    build(Counts, stored)
            else:
                assert build(Counts, stored).hparams.size == 3


def test_a_checkpoint_builds_a_module_as_a_file_does(tmp_path):
    class Configured(pl.LightningModule):
        def __init__(self, cfg):
            super().__init__()
            self.save_hyperparameters(cfg)
            self.register_buffer("counts", torch.zeros(cfg["size"]))

    model = Configured({"size": 2, "rates": (1, 2)})
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "hparams_name": "cfg"}
    torch.save(content | {"pytorch-lightning_version": "2.6.0", "note": "x"}, tmp_path / "m.ckpt")
    read = Weights.from_checkpoint(tmp_path / "m.ckpt")
    built = build(Configured, StoredModule.of_weights(read, "m.ckpt"))
    assert dict(built.hparams) == {"size": 2, "rates": (1, 2)}
    again = Weights.from_state_dict(read.state_dict(), module=built, record=read.record)
    assert (again.hparams_name, again.checkpoint) == ("cfg", {"note": "x"})


def test_the_constructor_may_change_what_it_is_given(path):
    class Pops(Counts):
        def __init__(self, options):
            super().__init__(options.pop("size"))

        def on_load_checkpoint(self, checkpoint):
            self.found = checkpoint["hyper_parameters"]

    stored = StoredModule(
        {"counts": torch.zeros(2, dtype=torch.uint8)}, CheckpointRecord(hyper_parameters={"options": {"size": 2}})
    )
    for _ in range(2):
        assert build(Pops, stored).found == {"options": {"size": 2}}


def _trainer(root, *callbacks, **options):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(
        accelerator="cpu", devices=1, default_root_dir=root, callbacks=list(callbacks), **quiet, **options
    )
