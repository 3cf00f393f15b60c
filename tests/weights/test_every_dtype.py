"""Tensors of every dtype that torch has are stored exactly, or refused by name."""

import pytest
import torch
from each_case import naming

from lightning_compress import Interval, Plan, Raw, Rule, compress
from lightning_compress.errors import WeightsError
from lightning_compress.weights import as_bytes

DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
PLANS = [Plan(Rule("weight", Raw())), Plan(Rule("weight", Interval(4)))]
BITS = (torch.arange(64) % 2).to(torch.uint8)  # true and false, too


def tensor_of(name: str) -> torch.Tensor:
    if name.startswith("torch.q"):
        return torch.quantize_per_tensor(torch.ones(4), 0.1, 0, DTYPES[name])
    return BITS.view(DTYPES[name])


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
def test_tensors_of_every_dtype_are_stored_exactly_or_refused_by_name() -> None:
    stored = 0
    for name in DTYPES:
        with naming(name):
            tensor = tensor_of(name)
            if name.startswith(("torch.q", "torch.bits")):
                for plan in PLANS:
                    with pytest.raises(WeightsError, match=f"'weight' has .*dtype {name}"):
                        compress({"weight": tensor}, plan)
                continue
            exact, other = (compress({"weight": tensor}, plan).restore()["weight"] for plan in PLANS)
            assert torch.equal(as_bytes(exact), as_bytes(tensor))
            assert exact.dtype == other.dtype == tensor.dtype
            assert exact.shape == other.shape == tensor.shape
            stored += 1
    assert stored > 20


def test_what_the_refusal_of_bits_advises_works() -> None:
    bits = BITS.view(torch.bits8)
    restored = compress({"weight": bits.view(torch.uint8)}, PLANS[0]).restore()["weight"]
    assert torch.equal(restored, BITS)
