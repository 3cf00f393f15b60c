"""Work for one rank, with strategies that only pretend to have others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_compress.callbacks.hooks.collective import gather, on_rank_zero, shape_only
from lightning_compress.errors import CallbackError, PlanError


class Rank:
    """One of two ranks; ``told`` is what rank 0 broadcasts."""

    def __init__(self, number: int, told: str | None = None) -> None:
        self.is_global_zero = number == 0
        self.told = told
        self.sent: list[str | None] = []
        self.lightning_module = nn.Linear(2, 2)
        self.root_device = torch.device("cpu")

    def broadcast(self, text, src):
        assert src == 0
        self.sent.append(text)
        return text if self.is_global_zero else self.told


def _fail():
    raise PlanError("wrong")


def test_only_rank_zero_works_and_all_meet():
    done = []
    zero, one = Rank(0), Rank(1)
    on_rank_zero(zero, lambda: done.append(0))
    on_rank_zero(one, lambda: done.append(1))
    assert done == [0]
    assert zero.sent == one.sent == [None]


def test_rank_zero_sends_its_error_before_it_raises_it():
    zero = Rank(0)
    with pytest.raises(PlanError, match="wrong"):
        on_rank_zero(zero, _fail)
    assert zero.sent == ["PlanError: wrong"]


def test_the_other_ranks_raise_the_error_that_they_receive():
    with pytest.raises(CallbackError, match=r"rank 0 failed.*PlanError: wrong"):
        on_rank_zero(Rank(1, "PlanError: wrong"), _fail)


def test_a_whole_state_dict_is_taken_as_it_is():
    state = {"a": torch.ones(2), "extra": {"no": "tensor"}}
    gathered = gather(Rank(0), state)
    assert gathered == state
    assert gathered["a"] is state["a"]


def test_shards_are_put_together_on_every_rank_and_kept_on_rank_zero():
    asked = []

    class Shard:
        def full_tensor(self):
            asked.append(self)
            return torch.arange(4)

    state = {"a": Shard(), "b": torch.ones(2), "extra": 3}
    whole = gather(Rank(0), state)
    assert torch.equal(whole["a"], torch.arange(4))
    assert torch.equal(whole["b"], torch.ones(2))
    assert whole["extra"] == 3
    assert gather(Rank(1), state) == {}
    assert len(asked) == 2


def test_placeholders_of_deepspeed_are_refused_and_not_compressed():
    rank = Rank(0)
    rank.lightning_module.weight.ds_numel = 4
    assert set(gather(rank, rank.lightning_module.state_dict())) == {"weight", "bias"}
    rank.lightning_module.weight.ds_numel = 16
    with pytest.raises(CallbackError, match="weight is split by DeepSpeed stage 3: 4 of its 16 values"):
        gather(rank, rank.lightning_module.state_dict())


def test_shapes_without_values():
    module = nn.Module()
    module.half = nn.Linear(2, 3, dtype=torch.float16)
    module.register_buffer("empty", torch.ones(0, 2))
    shapes = shape_only(module)
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in shapes.items()} == {
        "half.weight": ((3, 2), torch.float16),
        "half.bias": ((3,), torch.float16),
        "empty": ((0, 2), torch.float32),
    }
    assert not any(tensor.any() for tensor in shapes.values())
    assert shapes["half.weight"].untyped_storage().nbytes() == 2


def test_shapes_that_would_cost_something_are_not_asked_for():
    assert shape_only(nn.LazyLinear(2)) is None
    flat = type("FullyShardedDataParallel", (nn.Linear,), {"state_dict": None})
    assert shape_only(nn.Sequential(flat(2, 2))) is None
