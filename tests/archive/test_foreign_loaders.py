"""No program that reads plain safetensors files takes a compressed file for weights, or leaves weights random."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from each_case import naming
from torch import nn

from lightning_compress import Plan, Raw, Rule, compress, load
from lightning_compress.archive import Archive
from lightning_compress.archive.manifest import version4
from lightning_compress.archive.manifest.version2 import SMALL_BYTES


class Scaled(nn.Module):
    """A linear layer and a parameter without dimensions."""

    def __init__(self, rows: int, columns: int, *, bias: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(columns, rows, bias=bias)
        self.scale = nn.Parameter(torch.tensor(0.5))


MODELS = {
    "small tensors alone": Scaled(3, 5),
    "a large matrix and small tensors": Scaled(160, 130),
    "large tensors alone": nn.Linear(160, 130, bias=False),
    "a matrix whose coded bytes are as many as its columns": Scaled(1, SMALL_BYTES),
    "a large convolution": nn.Conv2d(40, 40, 5),
    "reserved names": nn.ModuleDict({"#": nn.Linear(3, 3)}),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return MODELS[request.param]


@pytest.fixture
def path(model: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    compress(model, Plan(Rule("*", Raw()))).save(path)
    return path


def _read_by_name(path: Path, model: nn.Module) -> None:
    """As lazy loaders do: what has a name of the model is read, and all else is left as it is."""
    own = model.state_dict()
    with safetensors.safe_open(path, "pt") as file:
        found = {name: file.get_slice(name)[:] for name in file.keys() if name in own}  # noqa: SIM118
    model.load_state_dict(found, strict=False)
    raise AssertionError(f"weights were left as they are; read were {[*found]}")


def test_every_way_to_read_it_fails(model: nn.Module, path: Path) -> None:
    data = path.read_bytes()
    ways = {
        "load_file": lambda: safetensors.torch.load_file(path),
        "bytes": lambda: safetensors.torch.load(data),
        "numpy": lambda: safetensors.numpy.load_file(path),
        "load_model": lambda: safetensors.torch.load_model(model, path),
        "load_model, not strict": lambda: safetensors.torch.load_model(model, path, strict=False),
    }
    if "#.weight" not in model.state_dict():
        ways["by name"] = lambda: _read_by_name(path, model)
    for name, read in ways.items():
        with naming(name), pytest.raises((safetensors.SafetensorError, KeyError, RuntimeError)):
            read()
    assert load(path).keys() == model.state_dict().keys()


def test_its_header_is_valid(model: nn.Module, path: Path) -> None:
    with safetensors.safe_open(path, "pt") as file:
        keys = set(file.keys())
        assert list(file.metadata()) == ["lightning_compress"]
        shapes = {key: file.get_slice(key).get_shape() for key in keys}
    own = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert all(len(shapes[name]) != len(own[name]) for name in own.keys() & keys if shapes[name] != [0])
    assert [key for key in keys if shapes[key] == [0]] == [version4.records(Archive.open(path).manifest)[0].key]


def test_the_hub_mixin_fails_instead_of_random_weights(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

    class Mixed(Scaled, hub.PyTorchModelHubMixin):  # type: ignore[name-defined, misc]
        def __init__(self, rows: int = 3) -> None:
            super().__init__(rows, 5)

    Mixed().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    compress(Mixed(), "half").save(tmp_path / "model.safetensors")
    with pytest.raises(Exception, match=r"F6_E2M3|size mismatch"):
        Mixed.from_pretrained(tmp_path)


def test_transformers_fails_instead_of_random_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    module = transformers.BertModel(transformers.BertConfig(vocab_size=20, **sizes))
    module.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    compress(module, "half").save(tmp_path / "model.safetensors")
    for options in ({}, {"ignore_mismatched_sizes": True}):
        with naming(options), pytest.raises(Exception, match=r"F6_E2M3|mismatch"):
            transformers.BertModel.from_pretrained(tmp_path, **options)
