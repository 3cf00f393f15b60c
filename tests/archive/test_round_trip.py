"""Round trips through a file: every dtype and form of tensor, lossless wherever the plan is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from each_case import naming
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_compress import Half, Interval, Plan, Prune, Raw, Rule, compress, load
from lightning_compress.archive import Archive
from lightning_compress.quantize import DTYPES
from lightning_compress.weights import as_bytes

FLOATS = {str(dtype): dtype for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}
PLANS = {
    "raw": Plan(Rule("*", Raw())),
    "half": "half",
    "nearest": Plan(Rule("*", Half(rounding="nearest"))),
    "float16": Plan(Rule("*", Half("float16", "nearest"))),
    "paper-transformer": "paper-transformer",
    "paper-rnn": "paper-rnn",
    "pruned": Plan(Rule("*", Prune(0.5))),
    "threshold": Plan(Rule("*", Prune(0.01, "threshold"), Half())),
    "one bit": Plan(Rule("*", Interval(1, 0.5, "right", "tensor"), Half())),
    "sixteen bits": Plan(Rule("*", Interval(16, 1.0, "left", "class"))),
    "no coverage": Plan(Rule("*", Interval(4, 0.0), Half())),
}
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal in dtype, shape and every bit."""
    alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return alike and torch.equal(as_bytes(one), as_bytes(other))


def through_file(state: dict[str, Tensor], plan: Plan | str, folder: Path) -> dict[str, Tensor]:
    """The state dict read back from a file; its streams are checked to be no larger than the raw tensors."""
    path = folder / "model.safetensors"
    archive = compress(state, plan)
    assert archive.save(path) == path.stat().st_size == archive.nbytes
    for row in archive.report().rows:
        assert row.bytes <= row.raw_bytes, row
    restored = load(path)
    assert set(restored) == set(state)
    for name, tensor in state.items():
        assert (restored[name].dtype, restored[name].shape) == (tensor.dtype, tensor.shape), name
    return restored


def _every_bit(dtype: torch.dtype) -> Tensor:
    """Elements of all kinds of bits: those of the values 0 to 255 in every byte, and of mixed bytes."""
    mixed = torch.arange(16 * 256).mul(2654435761).bitwise_right_shift(7).to(torch.uint8)
    content = torch.cat([torch.arange(256, dtype=torch.uint8).repeat_interleave(16), mixed])
    return content.bool() if dtype == torch.bool else content.view(dtype)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_of_torch_is_kept_bit_for_bit(name: str, tmp_path: Path) -> None:
    tensor = _every_bit(DTYPES[name])
    one = _every_bit(DTYPES[name])[16:17]
    restored = through_file({"many": tensor, "one": one}, PLANS["raw"], tmp_path)
    assert same_bits(restored["many"], tensor)
    assert same_bits(restored["one"], one)


@pytest.mark.parametrize("plan", PLANS)
def test_tensors_that_no_method_supports_are_stored_exactly(plan: str) -> None:
    state = {name: _every_bit(dtype) for name, dtype in DTYPES.items() if str(dtype) not in FLOATS}
    restored = compress({**state, "weight": torch.ones(3)}, PLANS[plan]).restore()
    for name, tensor in state.items():
        with naming(name):
            assert same_bits(restored[name], tensor)


def _forms() -> dict[str, Tensor]:
    matrix = torch.arange(1.0, 13.0).reshape(3, 4)
    complex_matrix = torch.complex(matrix, -matrix)
    return {
        "0-d": torch.tensor(3.5),
        "0-d integer": torch.tensor(7),
        "one": torch.tensor([1.5]),
        "empty": torch.empty(0),
        "empty rows": torch.empty(0, 5),
        "empty columns": torch.empty(3, 0, 2, dtype=torch.float64),
        "empty integers": torch.empty(2, 0, dtype=torch.int16),
        "transposed": matrix.t(),
        "every other": matrix[:, ::2],
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "offset": matrix[1:],
        "channels last": torch.arange(16.0).reshape(1, 2, 2, 4).to(memory_format=torch.channels_last),
        "conjugate": complex_matrix.conj(),
        "negated": complex_matrix.conj().imag,
        "parameter": torch.nn.Parameter(matrix.clone()),
        "64 dimensions": torch.ones((1,) * 63 + (2,)),
        "constant": torch.full((50,), 0.25),
        "zeros": torch.zeros(50),
    }


@pytest.mark.parametrize("plan", ["raw", "half", "paper-rnn", "pruned", "sixteen bits"])
def test_every_form_of_tensor_survives_the_round_trip(plan: str, tmp_path: Path) -> None:
    for form, tensor in _forms().items():
        with naming(form):
            restored = through_file({"weight": tensor}, PLANS[plan], tmp_path)["weight"]
            if plan in ("raw", "half"):  # these values all fit in sixteen bits
                assert torch.equal(restored, tensor.detach())
            assert restored.is_contiguous()


def test_lazily_negated_or_conjugated_views_are_not_tied() -> None:
    matrix = torch.complex(torch.arange(6.0), torch.arange(6.0) + 1)
    state = {"plain": matrix, "conjugate": matrix.conj(), "negated": matrix.conj().imag, "imaginary": matrix.imag}
    restored = compress(state, PLANS["raw"]).restore()
    for name, tensor in state.items():
        assert torch.equal(restored[name], tensor), name


def _specials(dtype: torch.dtype) -> Tensor:
    """Values that 16-bit floats cannot hold or should not change: NaN with payloads, infinities, extremes, −0."""
    info = torch.finfo(dtype)
    double = [
        float("inf"),
        float("-inf"),
        info.max,
        -info.max,
        info.smallest_normal / 2,
        -info.smallest_normal / 4,
        -0.0,
    ]
    values = torch.tensor(double, dtype=torch.float64).to(dtype)
    words = torch.full((4,), float("nan"), dtype=dtype)
    bits = words.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize])
    infinity = torch.tensor([float("inf")], dtype=dtype).view(bits.dtype)
    bits[1:] = infinity | torch.tensor([1, 5, 1 << (8 * dtype.itemsize - 14)], dtype=bits.dtype)
    return torch.cat([values, words])


@pytest.mark.parametrize("plan", PLANS)
def test_special_values_outside_half_precision_stay_exact(plan: str, tmp_path: Path) -> None:
    for name, dtype in FLOATS.items():
        with naming(name):
            _check_special_values(plan, dtype, tmp_path)


def _check_special_values(plan: str, dtype: torch.dtype, tmp_path: Path) -> None:
    specials = _specials(dtype)
    ordinary = torch.linspace(-1, 1, 301, dtype=torch.float64).to(dtype)
    tensor = torch.cat([ordinary, specials, ordinary])
    restored = through_file({"weight": tensor}, PLANS[plan], tmp_path)["weight"]
    never_finite = ~torch.isfinite(tensor)
    assert same_bits(restored[never_finite], tensor[never_finite])
    assert torch.isfinite(restored[~never_finite]).all()
    if plan in ("raw", "half", "nearest", "float16"):
        assert bool((restored[tensor != 0] != 0).all()), "a value that is not 0 became 0"
        assert torch.equal(torch.signbit(restored), torch.signbit(tensor))
    if plan == "raw" or (dtype.itemsize == 2 and plan in ("half", "nearest", "float16", "no coverage")):
        assert same_bits(restored, tensor)


@pytest.mark.parametrize("plan", PLANS)
def test_a_tensor_of_special_values_alone_is_stored_exactly(plan: str) -> None:
    for name, dtype in FLOATS.items():
        for value in (float("nan"), float("inf"), float("-inf")):
            with naming((name, value)):
                tensor = torch.full((37,), value, dtype=dtype)
                assert same_bits(compress({"weight": tensor}, PLANS[plan]).restore()["weight"], tensor)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_any_state_dict_survives_the_round_trip_and_is_never_larger(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=4))
    seed, scale = data.draw(st.integers(0, 1 << 16)), data.draw(st.sampled_from([1e-30, 1e-3, 1.0, 1e30]))
    plan = PLANS[data.draw(st.sampled_from(sorted(PLANS)))]
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for number, size in enumerate(sizes):
        dtype = data.draw(st.sampled_from(sorted(FLOATS)))
        values = torch.randn(size, 3, generator=generator, dtype=torch.float64).mul(scale).to(FLOATS[dtype])
        state[f"{number}.weight"] = values
    archive = compress(state, plan)
    restored = archive.restore()
    for row in archive.report().rows:
        assert row.bytes <= row.raw_bytes
        assert restored[row.name].dtype == state[row.name].dtype
        assert row.sparsity == pytest.approx(float((restored[row.name] == 0).double().mean()) if row.weights else 0.0)
    archive.verify()


@pytest.mark.parametrize(
    "name", ["bool", "int32", "uint16", "float8_e5m2", "bfloat16", "float64", "complex64", "complex32"]
)
def test_zeros_are_counted_in_every_dtype(name: str) -> None:
    values = torch.tensor([0.0, 1, 0, 1, 1, -0.0, -0.0, 1])
    tensor = values.bool() if name == "bool" else values.to(DTYPES[name])
    assert compress({"weight": tensor}, "half").manifest.entries[0].zeros == 4


def test_an_imaginary_number_is_not_zero() -> None:
    for dtype in (torch.complex32, torch.complex64, torch.complex128):
        tensor = torch.tensor([0, 1j, 1, 0, -1j], dtype=torch.complex64).to(dtype)
        assert compress({"weight": tensor}, "half").manifest.entries[0].zeros == 2


TIES = {
    "identical": lambda base: (base, base),
    "same memory": lambda base: (base, base.view(base.shape)),
    "slice": lambda base: (base, base[2:4]),
    "column": lambda base: (base, base[:, 1]),
    "transposed": lambda base: (base, base.t()),
    "flat": lambda base: (base, base.view(-1)),
    "one element": lambda base: (base, base[3, 1]),
    "the view first": lambda base: (base[1:], base),
    "repeated": lambda base: (base, base[2].expand(3, -1)),
}


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("plan", ["raw", "half", "paper-transformer"])
def test_ties_are_stored_once_and_share_memory_when_restored(tie: str, plan: str, tmp_path: Path) -> None:
    base = torch.linspace(-1, 1, 30).reshape(6, 5).contiguous()
    one, other = TIES[tie](base)
    path = tmp_path / "tied.safetensors"
    compress({"one": one, "other": other}, PLANS[plan]).save(path)
    archive = Archive.open(path)
    assert len(archive.manifest.entries) == 1
    assert set(archive.manifest.names) == {"one", "other"}
    restored = archive.restore()
    assert (restored["one"].shape, restored["other"].shape) == (one.shape, other.shape)
    if plan == "raw":
        assert torch.equal(restored["one"], one)
        assert torch.equal(restored["other"], other)
    larger = max(restored.values(), key=Tensor.numel)
    larger.zero_()
    assert not restored["one"].any()
    assert not restored["other"].any()


def test_adjacent_tensors_in_one_storage_are_not_tied() -> None:
    memory = torch.arange(20.0)
    restored = compress({"one": memory[:10], "two": memory[10:], "bits": memory.view(torch.int32)}, "half").restore()
    assert torch.equal(restored["one"], memory[:10])
    assert torch.equal(restored["two"], memory[10:])
    assert torch.equal(restored["bits"], memory.view(torch.int32))
