"""A file written from a training with Fabric: on rank 0 alone, and with one outcome on all ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from lightning_compress import compress, load, save_compressed
from lightning_compress.errors import CompressionError


class OtherRank:
    """Fabric on rank 1, where rank 0 has the given outcome."""

    is_global_zero = False

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def broadcast(self, obj: object, src: int = 0) -> object:
        return self.outcome


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def test_the_file_is_that_of_compress_set_up_or_not(tmp_path: Path, net: nn.Module) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    compress(net, "safe").save(tmp_path / "expected.x")
    for module in (net, fabric.setup(net)):
        nbytes = save_compressed(fabric, module, tmp_path / "net.x")
        assert nbytes == (tmp_path / "net.x").stat().st_size
        assert load(tmp_path / "net.x").keys() == net.state_dict().keys()
        expected = load(tmp_path / "expected.x")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in load(tmp_path / "net.x").items())


def test_other_ranks_write_nothing_and_have_the_outcome_of_rank_0(tmp_path: Path, net: nn.Module) -> None:
    assert save_compressed(OtherRank(123), net, tmp_path / "net.x") == 123
    assert not (tmp_path / "net.x").exists()
    with pytest.raises(CompressionError, match=r"net\.x was not written: OSError: disk full"):
        save_compressed(OtherRank("OSError: disk full"), net, tmp_path / "net.x")


def test_a_failure_on_rank_0_is_told_to_the_others_and_raised(tmp_path: Path, net: nn.Module) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(CompressionError, match="was not written: PlanError: no preset and no file is called 'smal'"):
        save_compressed(fabric, net, tmp_path / "net.x", "smal")
    with pytest.raises(CompressionError, match=r"was not written: \w+Error"):
        save_compressed(fabric, net, tmp_path / "missing" / "net.x")
    assert not list(tmp_path.iterdir())
