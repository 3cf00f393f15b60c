"""A few tensors of a module are replaced, scored and restored, and no others are copied."""

from __future__ import annotations

import math

import pytest
import torch
from small_network import Net, expect_same, state_of
from small_search import Agreement
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import MeanMetric

from lightning_compress.errors import CompressionError, MismatchError, SearchError
from lightning_compress.search import swapping
from lightning_compress.weights import Weights


class Copied(TorchDispatchMode):
    """Elements copied into memory that is not theirs."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.copy_.default:
            self.elements += args[0].numel()
        return function(*args, **(kwargs or {}))


class Tied(nn.Module):
    """A table used at both ends, a view of it, and a layer that saves its state in copies where wished."""

    def __init__(self, *, saves_copies=False, hooked=False):
        super().__init__()
        torch.manual_seed(4)
        self.table = nn.Embedding(12, 6)
        self.head = nn.Linear(6, 12, bias=False)
        self.head.weight = self.table.weight
        self.middle = nn.Linear(6, 6)
        self.loads = 0
        if saves_copies:
            self.register_state_dict_post_hook(lambda _, state, *__: _copy_all(state))
        if hooked:
            self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "loads", module.loads + 1))

    def forward(self, x):
        return self.head(self.middle(self.table(x)))


def _copy_all(state):
    for name in state:
        state[name] = state[name].clone()


def total(module):
    return float(sum(p.double().sum() for p in module.state_dict().values()))


def test_only_what_is_given_is_copied_in_and_out():
    net = Net()
    weights = Weights.from_module(net)
    (bias,) = [w.tensor for w in weights if w.name == "head.bias"]
    with swapping(net, lambda module: float(module.head.bias.sum()), weights) as swapper:
        exact = swapper.score({}, "the exact weights").value
        with Copied() as copied:
            changed = swapper.score({"head.bias": bias + 1}, "the bias and one")
    buffers = sum(buffer.numel() for buffer in net.buffers())
    # Before the evaluation the buffers are put back, after it they and the bias; in between the bias is copied in.
    assert copied.elements == 2 * bias.numel() + 2 * buffers
    assert changed.value == pytest.approx(exact + bias.numel())


def test_each_score_is_that_of_its_tensors_alone():
    net = Net()
    agreement = Agreement(net)
    weights = Weights.from_module(net)
    before = state_of(net)
    head = torch.randn_like(net.head.weight)
    fresh = Net()
    fresh.load_state_dict({**net.state_dict(), "head.weight": head})
    expected = agreement(fresh.eval())
    with swapping(net, agreement, weights) as swapper:
        assert swapper.score({}, "the exact weights").value == 100.0
        assert swapper.score({"embedding.weight": torch.zeros(64, 48)}, "no embedding").value < 50.0
        assert swapper.score({"head.weight": head}, "another head").value == expected
        assert expected < 50.0
    expect_same(net, before)


def test_equal_content_is_scored_once():
    net = Net()
    weights = Weights.from_module(net)
    with swapping(net, Agreement(net), weights) as swapper:
        first = swapper.score({"head.bias": torch.zeros(24)}, "no bias")
        assert swapper.score({"head.bias": torch.zeros(24)}, "again") is first
        exact = swapper.score({}, "the exact weights")
        assert swapper.score({"head.weight": net.head.weight.detach().clone()}, "an exact copy") is exact
        assert swapper.count == 2


@pytest.mark.parametrize("kind", [{}, {"saves_copies": True}, {"hooked": True}], ids=str)
def test_what_is_tied_changes_too(kind):
    module = Tied(**kind)
    weights = Weights.from_module(module)
    (name,) = [w.name for w in weights if w.tensor.shape == (12, 6)]
    before = state_of(module)
    seen = []

    def evaluate(module):
        seen.append((module.table.weight.clone(), module.head.weight.clone()))
        return total(module)

    with swapping(module, evaluate, weights) as swapper:
        exact = swapper.score({}, "exact").value
        changed = swapper.score({name: torch.ones(12, 6)}, "ones").value
        also = {alias: torch.ones(12, 6) for alias in weights.ties}
        assert swapper.score({name: torch.ones(12, 6), **also}, "ones, with their ties").value == changed
    assert exact != changed
    assert torch.equal(seen[-1][0], torch.ones(12, 6))
    assert torch.equal(seen[-1][1], torch.ones(12, 6))
    expect_same(module, before)
    assert module.head.weight is module.table.weight
    assert module.loads == 0


def test_hooks_of_loading_are_called():
    module = Tied(hooked=True)
    with swapping(module, lambda module: module.loads, Weights.from_module(module)) as swapper:
        assert swapper.score({"middle.bias": torch.ones(6)}, "ones").value == 1


def test_pruned_parameters_take_their_value():
    module = nn.Linear(6, 4)
    prune.l1_unstructured(module, "weight", amount=0.5)
    weights = Weights.from_module(module)
    x = torch.randn(3, 6)
    value = torch.ones(4, 6)
    expected = float((x @ value.T + module.bias.detach()).sum())
    before = state_of(module)
    with swapping(module, lambda module: module(x).sum(), weights) as swapper:
        assert swapper.score({"weight": value}, "ones").value == pytest.approx(expected, rel=1e-5)
    expect_same(module, before)


def test_weights_other_than_the_modules_are_loaded():
    net = Net()
    weights = Weights.from_state_dict({name: t + 1 for name, t in net.state_dict().items()}, module=net)
    before = state_of(net)
    with swapping(net, lambda module: module.head.bias.sum(), weights) as swapper:
        expected = float((net.head.bias.detach() + 1).sum())
        assert swapper.score({}, "exact").value == pytest.approx(expected)
        assert swapper.score({"head.weight": torch.zeros(24, 48)}, "no head").value == pytest.approx(expected)
    expect_same(net, before)


def test_names_may_differ_by_wrappers():
    module = nn.Linear(6, 5)
    weights = Weights.from_state_dict({f"_orig_mod.{n}": t.clone() for n, t in module.state_dict().items()})
    with swapping(module, total, weights) as swapper:
        assert swapper.score({"_orig_mod.bias": torch.zeros(5)}, "no bias").value == pytest.approx(
            float(module.weight.detach().double().sum())
        )


def meddles(module):
    """Leaves nothing as it was, and answers by everything it finds."""
    value = total(module) + float(torch.rand(())) + float(module.mean.compute()) + module.training
    module.mean.update(5.0)
    module.train()
    with torch.no_grad():
        module.head.weight.add_(1)
        module.embedding.weight.data = torch.zeros(3)
        module.norm.running_mean.fill_(3.0)
        module.mask.zero_()
    module.head.requires_grad_(False)
    module.found = value
    return value


def test_each_evaluation_starts_from_the_same_state():
    net = Net()
    net.mean = MeanMetric()
    net.mean.update(2.0)
    net(torch.arange(8)).sum().backward()
    before, grad, random = state_of(net), net.head.weight.grad.clone(), torch.get_rng_state()
    weights = Weights.from_module(net)
    values = []
    with swapping(net, lambda module: values.append(meddles(module)) or values[-1], weights) as swapper:
        for number in range(3):
            swapper.score({"head.bias": torch.full((24,), float(number))}, "a bias")
        assert torch.equal(torch.get_rng_state(), random)
    assert values[1] - values[0] == pytest.approx(24)
    assert values[2] - values[1] == pytest.approx(24)
    expect_same(net, before)
    assert torch.equal(net.head.weight.grad, grad)
    assert net.mean.compute() == 2.0
    assert net.head.weight.requires_grad
    assert net.training
    assert not hasattr(net, "found")
    assert torch.equal(torch.get_rng_state(), random)


def _raise(_):
    raise ValueError("sentence 7")


FAILURES = {
    "raises": (_raise, {}, SearchError, "evaluate failed on a bias with ValueError: sentence 7"),
    "NaN": (lambda _: math.nan, {}, SearchError, "evaluate gave NaN for a bias"),
    "no score": (lambda _: "good", {}, SearchError, "evaluate returned str"),
    "unknown": (total, {"head.scale": torch.ones(2)}, MismatchError, "gives 'head.scale', which is no stored tensor"),
    "shape": (total, {"head.bias": torch.ones(2)}, MismatchError, r"the shape \[2\], expected \[24\]"),
}


@pytest.mark.parametrize(("evaluate", "tensors", "kind", "message"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_an_error_and_the_module_is_restored(evaluate, tensors, kind, message):
    net = Net()
    before = state_of(net)
    with pytest.raises(kind, match=message), swapping(net, evaluate, Weights.from_module(net)) as swapper:
        swapper.score(tensors or {"head.bias": torch.ones(24)}, "a bias")
    expect_same(net, before)


def test_a_tied_name_alone_is_refused():
    module = Tied()
    weights = Weights.from_module(module)
    (alias,) = weights.ties
    with swapping(module, total, weights) as swapper, pytest.raises(MismatchError, match="is tied to"):
        swapper.score({alias: torch.ones(12, 6)}, "ones")


def test_weights_of_another_module_are_refused():
    with (
        pytest.raises(CompressionError, match="does not fit the module"),
        swapping(Net(), total, Weights.from_module(Tied())),
    ):
        pass
