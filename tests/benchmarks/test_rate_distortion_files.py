"""The files of other storage methods have the bytes they should, and hold what their formulas say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from benchmarks.rate_distortion.methods import integers, ours, zstd_bfloat16
from benchmarks.rate_distortion.methods.integers import (
    from_int4_groups,
    from_int8_rows,
    group_size,
    int4_groups,
    int8_rows,
    read,
    write,
)
from benchmarks.rate_distortion.methods.method import Method
from benchmarks.rate_distortion.source import Source

METHODS = [zstd_bfloat16.METHOD, integers.INT8, integers.INT4, ours.METHODS[0]]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_candidate_reads_back_the_model_near_its_weights(source: Source, method: Method, tmp_path: Path) -> None:
    settings = []
    for candidate in method.candidates(source):
        path = tmp_path / f"{len(settings)}"
        candidate.write(path)
        state = candidate.read(path)
        assert state.keys() == source.state.keys()
        for name, weight in source.state.items():
            assert state[name].shape == weight.shape
            assert float((state[name].float() - weight).abs().max()) < 0.6
        settings.append(candidate.setting)
    assert len(settings) == len(set(settings)) > 0


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_code_that_makes_the_files_is_there(method: Method) -> None:
    assert all(path.exists() for path in method.code)


@pytest.mark.parametrize(("rows", "columns", "size"), [(6, 64, 32), (3, 33, 33), (1, 1, 1)])
def test_int4_is_the_nearest_of_sixteen_points_of_its_group(rows: int, columns: int, size: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)) + 0.3
    parts = int4_groups(weight, size)
    assert parts["values"].dtype == torch.uint8
    assert parts["values"].numel() == (rows * columns + 1) // 2
    assert parts["scale"].shape == parts["zero"].shape == (rows * columns // size, 1)
    grid = (np.arange(16)[None] - 8) * parts["scale"].float().numpy() + parts["zero"].float().numpy()
    groups = weight.reshape(-1, size).numpy()
    nearest = np.abs(groups[:, :, None] - grid[:, None]).min(-1)
    restored = from_int4_groups(parts, rows, columns).reshape(-1, size).numpy()
    np.testing.assert_allclose(np.abs(groups - restored), nearest, atol=1e-6)


def test_int8_is_the_nearest_multiple_of_the_scale_of_its_row() -> None:
    weight = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * torch.arange(5)[:, None]
    parts = int8_rows(weight)
    assert parts["values"].dtype == torch.int8
    assert parts["values"].shape == (5, 40)
    assert parts["scale"].shape == (5, 1)
    bound = torch.where(weight.abs() > 127 * parts["scale"].float(), 1.0, 0.5) * parts["scale"].float()
    assert bool(((from_int8_rows(parts) - weight).abs() <= bound + 1e-6).all())


@pytest.mark.parametrize(
    ("columns", "largest", "size"), [(256, 128, 128), (320, 128, 64), (640, 128, 128), (64, 32, 32), (33, 64, 33)]
)
def test_groups_divide_a_row(columns: int, largest: int, size: int) -> None:
    assert group_size(columns, largest) == size


@pytest.mark.parametrize("group", [None, 32, 128])
def test_zstandard_changes_the_size_and_nothing_else(group: int | None, tmp_path: Path) -> None:
    state = {"matrix": torch.randn(64, 128).round(), "convolution": torch.randn(4, 2, 8, 8), "bias": torch.randn(7)}
    write(tmp_path / "plain", state, group, False)
    write(tmp_path / "small", state, group, True)
    assert (tmp_path / "small").stat().st_size < (tmp_path / "plain").stat().st_size
    plain, small = read(tmp_path / "plain"), read(tmp_path / "small")
    assert plain.keys() == small.keys() == state.keys()
    for name in state:
        assert torch.equal(plain[name], small[name])
        assert plain[name].shape == state[name].shape


def test_int4_takes_half_a_byte_a_weight_and_four_bytes_a_group(tmp_path: Path) -> None:
    write(tmp_path / "file", {"matrix": torch.randn(100, 256)}, 64, False)
    tensors = load((tmp_path / "file").read_bytes())
    assert sum(tensor.nbytes for tensor in tensors.values()) == 100 * 256 // 2 + 4 * 100 * 4
    assert (tmp_path / "file").stat().st_size < 100 * 256 // 2 + 4 * 100 * 4 + 500


def test_bfloat16_is_rounded_to_nearest(source: Source, tmp_path: Path) -> None:
    (candidate,) = zstd_bfloat16.METHOD.candidates(source)
    candidate.write(tmp_path / "file")
    state = candidate.read(tmp_path / "file")
    assert all(torch.equal(state[name], weight.bfloat16()) for name, weight in source.state.items())
