"""Memory for tensors, small and large."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.runtime import empty

LARGE = (3, 1 << 20)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.uint8, torch.uint16, torch.int16, torch.bool]


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), LARGE, (0, 1 << 24)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_like_that_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    made, expected = empty(shape, dtype), torch.empty(shape, dtype=dtype)
    assert (made.shape, made.dtype, made.device) == (expected.shape, expected.dtype, expected.device)
    assert made.stride() == expected.stride()
    assert made.data_ptr() % 16 == 0
    made.fill_(1)
    assert bool((made.float() == 1).all())


def test_other_devices_are_left_to_torch() -> None:
    assert empty(LARGE, torch.float32, torch.device("meta")).is_meta


def test_large_memory_is_that_of_numpy() -> None:
    assert empty([1000], torch.float32).untyped_storage().resizable()
    assert not empty(LARGE, torch.float32).untyped_storage().resizable()
