"""Modules from compressed files: names, splits, left-out tensors, arguments and classes."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from lightning_compress import Weights, compress, load, load_from_checkpoint
from lightning_compress.archive import Archive
from lightning_compress.errors import ClassNotAllowedError, ForeignFileError, MismatchError
from lightning_compress.loading import resolve_class
from lightning_compress.weights import load_into, match_state


class Lit(pl.LightningModule):
    def __init__(self, rows: int = 3, columns: int = 4, *, activation: object = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(rows)
        self.layer = nn.Linear(columns, rows)
        self.norm = nn.BatchNorm1d(rows)


class Plain(nn.Module):
    """The same tensors without Lightning."""

    def __init__(self, rows: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(4, rows)
        self.norm = nn.BatchNorm1d(rows)


@pytest.fixture
def file(tmp_path):
    """A trained-looking ``Lit(5, 4)``, compressed."""
    return _save(Lit(5, 4), tmp_path / "lit.safetensors")


def _save(module, path, **options):
    compress(Weights.from_module(module, **options), "half").save(path)
    return path


def _expect_loaded(module, path):
    stored = load(path)
    state = module.state_dict()
    assert set(state) == set(stored)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in state.items())


# Construction


def test_hyper_parameters_of_the_file_build_the_module(file):
    module = load_from_checkpoint(Lit, file)
    assert (module.hparams.rows, module.layer.out_features) == (5, 5)
    _expect_loaded(module, file)
    assert not any(tensor.requires_grad for name, tensor in module.named_buffers())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_keywords_win_over_them(file):
    module = load_from_checkpoint(Lit, str(file), activation="tanh")
    assert module.hparams.activation == "tanh"
    with pytest.raises(MismatchError, match=r"\[5, 4\], module: \[2, 4\]"):
        load_from_checkpoint(Lit, file, rows=2)


def test_a_plain_module_is_built_too_and_what_it_does_not_take_dropped(file):
    _expect_loaded(load_from_checkpoint(Plain, file), file)


def test_a_module_that_takes_anything_is_given_everything(file):
    seen = {}

    class Open(Plain):
        def __init__(self, **everything) -> None:
            seen.update(everything)
            super().__init__(everything["rows"])

    _expect_loaded(load_from_checkpoint(Open, file), file)
    assert seen == {"rows": 5, "columns": 4, "activation": None}


def test_a_missing_argument_is_named_with_what_the_file_holds(tmp_path):
    class Needy(Lit):
        def __init__(self, vocabulary: set[str], rows: int = 3) -> None:
            super().__init__(rows)
            self.save_hyperparameters()

    path = _save(Needy({"a", "b"}), tmp_path / "needy.safetensors")
    with pytest.raises(MismatchError, match=r"does not hold 'vocabulary' \(set\[str\]\): give it as a keyword.*rows"):
        load_from_checkpoint(Needy, path)
    _expect_loaded(load_from_checkpoint(Needy, path, vocabulary={"a", "b"}), path)


def test_an_unknown_keyword_is_named(file):
    with pytest.raises(MismatchError, match="takes no layers"):
        load_from_checkpoint(Lit, file, layers=2)


def test_hooks_are_called_in_lightnings_order(tmp_path):
    calls = []

    class Hooked(Lit):
        def configure_model(self):
            if not hasattr(self, "late"):
                self.late = nn.Linear(2, 2)
            calls.append("configure_model")

        def on_load_checkpoint(self, checkpoint):
            calls.append("on_load_checkpoint")
            assert checkpoint["hyper_parameters"]["rows"] == 5
            checkpoint["state_dict"]["layer.bias"] = torch.ones(5)

    module = Hooked(5)
    module.configure_model()
    calls.clear()
    path = _save(module, tmp_path / "hooked.safetensors")
    loaded = load_from_checkpoint(Hooked, path)
    assert calls == ["configure_model", "on_load_checkpoint"]
    assert torch.equal(loaded.late.weight, load(path)["late.weight"])
    assert torch.equal(loaded.layer.bias, torch.ones(5))


def test_what_is_none_of_ours_is_refused(tmp_path):
    path = tmp_path / "plain.ckpt"
    torch.save({"state_dict": Lit().state_dict()}, path)
    with pytest.raises(ForeignFileError, match=r"plain\.ckpt"):
        load_from_checkpoint(Lit, path)


# Names


def _wrapped(kind, module):
    if kind == "compiled whole":
        return torch.compile(module, backend="eager")
    if kind == "compiled part":
        module.layer = torch.compile(module.layer, backend="eager")
        return module
    # As DistributedDataParallel holds its module, which needs a process group to be built.
    wrapper = nn.Module()
    wrapper.module = module
    return wrapper


@pytest.mark.parametrize("kind", ["compiled whole", "compiled part", "data parallel"])
def test_wrapped_and_plain_modules_read_each_others_files(tmp_path, kind):
    wrapped, plain = _wrapped(kind, Plain()), Plain()
    assert set(wrapped.state_dict()) != set(plain.state_dict())
    tensors = load(_save(wrapped, tmp_path / "wrapped.safetensors"))
    load_into(plain, tensors)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), tensors.values(), strict=True))
    tensors = load(_save(Plain(), tmp_path / "plain.safetensors"))
    load_into(wrapped, tensors)
    assert all(torch.equal(a, b) for a, b in zip(wrapped.state_dict().values(), tensors.values(), strict=True))


def test_an_exact_name_goes_before_one_that_only_resembles_it():
    live = {"module.w": torch.zeros(1), "w": torch.zeros(1)}
    stored = {"w": torch.ones(1), "module.w": torch.full((1,), 2.0)}
    assert match_state(live, stored) == stored


def test_two_that_resemble_one_name_are_not_guessed_between():
    live = {"_orig_mod.w": torch.zeros(1), "_forward_module.w": torch.zeros(1)}
    with pytest.raises(MismatchError, match=r"not in the file: _orig_mod\.w, _forward_module\.w"):
        match_state(live, {"w": torch.ones(1)})


# Left-out tensors and differences


def test_what_was_left_out_keeps_the_live_value(tmp_path):
    path = _save(Plain(), tmp_path / "part.safetensors", exclude=["norm.*"])
    module = Plain()
    nn.init.constant_(module.norm.weight, 7.0)
    load_into(module, load(path), excluded=["norm.weight", "module.norm.bias", *module.norm.state_dict(prefix="norm.")])
    assert torch.equal(module.norm.weight, torch.full((3,), 7.0))
    assert torch.equal(module.layer.weight, load(path)["layer.weight"])
    built = load_from_checkpoint(Plain, path)
    assert torch.equal(built.norm.weight, torch.ones(3))


def test_every_difference_is_listed_in_one_error():
    live = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}
    stored = {"b": torch.zeros(4), "c": torch.zeros(1), "d": torch.zeros(1)}
    with pytest.raises(MismatchError) as caught:
        match_state(live, stored, source="model.safetensors")
    text = str(caught.value)
    assert "model.safetensors does not fit" in text
    assert "In the module, not in the file: a." in text
    assert "In the file, not in the module: d." in text
    assert "Different shapes: b (model.safetensors: [4], module: [3])." in text


def test_a_long_list_is_cut_with_its_length():
    with pytest.raises(MismatchError, match=r"n19, and 80 more\."):
        match_state({}, {f"n{i}": torch.zeros(1) for i in range(100)})


def test_not_strict_ignores_names_but_never_shapes():
    live = {"a": torch.zeros(2), "b": torch.zeros(3)}
    stored = {"b": torch.ones(3), "d": torch.zeros(1)}
    assert list(match_state(live, stored, strict=False)) == ["b"]
    with pytest.raises(MismatchError, match="Different shapes: b"):
        match_state(live, {"b": torch.zeros(4)}, strict=False)


def test_a_module_that_saves_a_part_of_itself_loads_that_part():
    class Adapter(Plain):
        def state_dict(self, *args, **kwargs):
            state = super().state_dict(*args, **kwargs)
            return {name: tensor for name, tensor in state.items() if name.startswith("layer")}

    module = Adapter()
    stored = {"layer.weight": torch.ones(3, 4), "layer.bias": torch.ones(3)}
    load_into(module, stored, strict=False)
    assert torch.equal(module.layer.weight, stored["layer.weight"])


def test_a_refused_file_leaves_the_module_as_it_was():
    module = Plain()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(MismatchError):
        load_into(module, {"layer.weight": torch.zeros(3, 4), "layer.bias": torch.zeros(2)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_a_dtype_follows_the_module(file):
    module = Plain(5).to(torch.float64)
    load_into(module, load(file))
    assert module.layer.weight.dtype == torch.float64
    assert torch.equal(module.layer.weight, load(file)["layer.weight"].double())


def test_a_lazy_module_takes_the_files_shapes(file):
    module = nn.Module()
    module.layer, module.norm = nn.LazyLinear(5), nn.LazyBatchNorm1d()
    load_into(module, load(file))
    assert module.layer.weight.shape == (5, 4)


def test_extra_state_stays_with_the_module():
    class Counting(nn.Linear):
        count = 3

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    module = Counting(2, 2)
    archive = compress(Weights.from_module(Counting(2, 2)), "half")
    load_into(module, archive.restore(), excluded=archive.manifest.excluded)
    assert module.count == 3
    assert torch.equal(module.weight, archive.restore()["weight"])


# Pruned and parametrized modules


def test_a_module_split_by_pruning_takes_the_merged_weight(file):
    module = Plain(5)
    prune.random_unstructured(module.layer, "weight", amount=0.5)
    stored = load(file)
    stored["layer.weight"][0] = 0
    load_into(module, stored)
    assert torch.equal(module.layer.weight_orig, stored["layer.weight"])
    assert torch.equal(module.layer.weight_mask, (stored["layer.weight"] != 0).float())
    module.layer(torch.ones(2, 4))
    assert torch.equal(module.layer.weight, stored["layer.weight"])


def test_a_file_of_a_pruned_module_loads_into_a_plain_one_and_a_pruned_one(tmp_path):
    pruned = Plain()
    prune.l1_unstructured(pruned.layer, "weight", amount=6)
    path = _save(pruned, tmp_path / "pruned.safetensors")
    plain = load_from_checkpoint(Plain, path)
    assert int((plain.layer.weight == 0).sum()) == 6
    load_into(pruned, load(path))
    assert torch.equal(pruned.layer.weight_orig * pruned.layer.weight_mask, plain.layer.weight)


def test_a_parametrized_module_keeps_its_own_names(tmp_path):
    def build():
        module = Plain()
        parametrizations.weight_norm(module.layer)
        return module

    path = _save(build(), tmp_path / "parametrized.safetensors")
    module = build()
    load_into(module, load(path))
    _expect_loaded(module, path)


def test_an_lstm_with_tied_embedding_comes_back_tied(tmp_path):
    class Language(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(9, 6)
            self.rnn = nn.LSTM(6, 6, num_layers=2)
            self.head = nn.Linear(6, 9, bias=False)
            self.head.weight = self.embedding.weight

    path = _save(Language(), tmp_path / "language.safetensors")
    module = load_from_checkpoint(Language, path)
    assert module.head.weight is module.embedding.weight
    _expect_loaded(module, path)


# Classes named in a file


def test_an_allowed_class_is_imported():
    assert resolve_class("torch.nn.modules.linear.Linear", ["torch.nn.*"]) is nn.Linear
    assert resolve_class("torch.nn.Linear", ["torch.nn.Linear"]) is nn.Linear


def test_a_nested_class_is_found(monkeypatch):
    module = SimpleNamespace(Outer=type("Outer", (), {"Inner": Plain}))
    monkeypatch.setitem(sys.modules, "nesting", module)
    assert resolve_class("nesting.Outer.Inner", ["nesting.*", "*.Plain"]) is Plain


@pytest.mark.parametrize("allow", [[], ["other.*"], ["torch.nn.Linear.more"], ["TORCH.*"]])
def test_another_is_not_even_imported(allow, monkeypatch):
    imported = []
    monkeypatch.setattr("lightning_compress.loading.classes.importing.import_module", imported.append)
    with pytest.raises(ClassNotAllowedError, match=r"allow=\['torch\.nn\.Linear'\]"):
        resolve_class("torch.nn.Linear", allow)
    assert imported == []


@pytest.mark.parametrize("path", ["os.system", "torch.nn.functional.relu", "decimal.Decimal", "no_such.Thing", "bare"])
def test_what_is_no_module_class_is_refused_even_if_allowed(path):
    with pytest.raises(ClassNotAllowedError, match="leads to no torch"):
        resolve_class(path, ["*"])


def test_the_class_in_a_file_leads_back_to_it(file):
    class_path = Archive.open(file).manifest.class_path
    assert resolve_class(class_path, [f"{__name__}.*"]) is Lit
