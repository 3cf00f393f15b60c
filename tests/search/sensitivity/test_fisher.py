"""Second moments of gradients, against a loop over autograd; every kind of parameter."""

from __future__ import annotations

import pytest
import torch
from small_calibration import Batches, Squares, ids, vectors
from small_network import Net, expect_same, state_of
from small_search import Agreement
from torch import nn
from torch.nn.utils import prune

from lightning_compress import Weights
from lightning_compress.errors import SearchError
from lightning_compress.quantize import matrix_shape
from lightning_compress.search import evaluating
from lightning_compress.search.sensitivity.fisher import estimate_fisher


def measured(module, calibration, weights=None):
    """The sensitivities, and the check that the module is as it was."""
    before, wanted = state_of(module), [p.requires_grad for p in module.parameters()]
    modes = [part.training for part in module.modules()]
    weights = weights or Weights.from_module(module)
    with evaluating(module, lambda _: 0.0, weights) as evaluator, evaluator.exact_weights():
        found = estimate_fisher(evaluator.weights, module, calibration)
    expect_same(module, before)
    assert [p.requires_grad for p in module.parameters()] == wanted
    assert [part.training for part in module.modules()] == modes
    assert all(p.grad is None for p in module.parameters())
    return found


def expected(module, calibration, parameters):
    """By name, squares by rows, products of columns, and of rows, from plain backward passes in evaluation mode."""
    training = module.training
    module.eval()
    result = {}
    for batch in calibration:
        gradients = torch.autograd.grad(calibration.loss(module, batch), list(parameters.values()))
        for name, gradient in zip(parameters, gradients, strict=True):
            matrix = gradient.to_dense().double().reshape(matrix_shape(tuple(gradient.shape)))
            parts = matrix.square().sum(1), matrix.T @ matrix, matrix @ matrix.T
            result[name] = tuple(a + b for a, b in zip(result.get(name, (0.0, 0.0, 0.0)), parts, strict=True))
    module.train(training)
    return result


def expect_close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, (rows, curvature, products) in wanted.items():
        torch.testing.assert_close(found[name].row_totals.double(), rows, rtol=1e-3, atol=1e-9, msg=name)
        if found[name].column_curvature is None:
            assert len(curvature) in {1} or len(curvature) > 4096
        else:
            torch.testing.assert_close(found[name].column_curvature.double(), curvature, rtol=1e-3, atol=1e-7, msg=name)
        if found[name].row_curvature is None:
            assert len(curvature) == 1 or len(curvature) > 4096 or len(rows) == 1 or len(rows) > 2048
        else:
            both = found[name].row_curvature.double().sum(0)
            torch.testing.assert_close(both, products, rtol=1e-3, atol=1e-7, msg=name)
            row_squares = found[name].row_curvature.diagonal(dim1=1, dim2=2)
            torch.testing.assert_close(row_squares, found[name].row_squares, rtol=1e-3, atol=1e-9, msg=name)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.lstm(x[:, None].expand(-1, 3, -1))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.attention = nn.MultiheadAttention(6, 2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = x.reshape(2, -1, 6)
        return self.head(self.attention(x, x, x)[0]).flatten(0, 1)


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv1d(1, 5, 3)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(20, 4)

    def forward(self, x):
        return self.head(self.norm(self.conv(x[:, None])).flatten(1))


class Narrow(nn.Module):
    """Matrices of one row, of one column, and of more columns than have a curvature."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.row, self.column, self.wide = nn.Linear(6, 1), nn.Linear(1, 6), nn.Linear(4100, 4, bias=False)

    def forward(self, x):
        return self.wide(nn.functional.pad(self.column(self.row(x)), (0, 4094)))


MODULES = {
    "linear": nn.Sequential,
    "recurrent": Recurrent,
    "attention": Attentive,
    "convolution and norm": Convolved,
    "narrow and wide": Narrow,
}


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_moments_are_those_of_a_plain_loop(make):
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)) if make is nn.Sequential else make()
    calibration = vectors(6)
    found = measured(module, calibration)
    wanted = expected(module, calibration, dict(module.named_parameters()))
    expect_close(found, {name: moments for name, moments in wanted.items() if moments[0].any()})


def test_it_measures_in_evaluation_mode_whatever_the_module_is_in():
    net, calibration = Net().train(), ids()
    expect_close(measured(net, calibration), expected(net, calibration, dict(net.named_parameters())))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_parameters_of_every_width(dtype):
    module, data = nn.Linear(6, 4).to(dtype), vectors(6)
    calibration = Batches([(x.to(dtype), y) for x, y in data])
    found = measured(module, calibration)
    assert {name: s.row_totals.dtype for name, s in found.items()} == {"weight": torch.float32, "bias": torch.float32}
    wanted = expected(module, calibration, dict(module.named_parameters()))
    torch.testing.assert_close(found["weight"].column_curvature.double(), wanted["weight"][1], rtol=2e-2, atol=1e-4)


def test_sparse_gradients_of_embeddings():
    sparse, dense = (nn.Sequential(nn.Embedding(64, 8, sparse=s), nn.Linear(8, 24)) for s in (True, False))
    dense.load_state_dict(sparse.state_dict())
    first, second = (measured(module, ids()) for module in (sparse, dense))
    for name, sensitivity in second.items():
        assert torch.equal(first[name].row_totals, sensitivity.row_totals)
        if sensitivity.column_curvature is not None:
            assert torch.equal(first[name].column_curvature, sensitivity.column_curvature)


def test_frozen_parameters_count_and_stay_frozen():
    free, frozen = nn.Linear(6, 4), nn.Linear(6, 4)
    frozen.load_state_dict(free.state_dict())
    frozen.weight.requires_grad_(False)
    first, second = (measured(module, vectors(6))["weight"] for module in (frozen, free))
    assert torch.equal(first.row_totals, second.row_totals)


class TiedNet(nn.Module):
    """An embedding that is the projection too; ``transposed`` shares its memory through a parameter of its own."""

    def __init__(self, *, reverse=False, transposed=False):
        super().__init__()
        torch.manual_seed(8)
        embedding, head = nn.Embedding(24, 8), nn.Linear(8, 24, bias=False)
        self.transposed = transposed
        if transposed:
            head = nn.Linear(24, 8, bias=False)
            head.weight = nn.Parameter(embedding.weight.data.t())
        else:
            head.weight = embedding.weight
        for name, part in [("head", head), ("table", embedding)] if reverse else [("table", embedding), ("head", head)]:
            self.add_module(name, part)

    def forward(self, x):
        hidden = self.table(x % 24)
        return hidden @ self.head.weight if self.transposed else self.head(hidden)


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"transposed": True}], ids=str)
def test_tied_parameters_count_together(options):
    module, calibration = TiedNet(**options), ids()
    weights = Weights.from_module(module)
    (stored,) = weights
    found = measured(module, calibration)
    assert found.keys() == {stored.name}

    plain = TiedNet()
    plain.load_state_dict({"table.weight": module.table.weight, "head.weight": module.table.weight})
    (wanted,) = expected(plain, calibration, {"table.weight": plain.table.weight}).values()
    assert stored.tensor.is_contiguous()
    torch.testing.assert_close(found[stored.name].row_totals.double(), wanted[0], rtol=1e-4, atol=1e-9)


def test_names_may_differ_by_wrappers():
    module, calibration = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), vectors(6)
    plain = measured(module, calibration)
    state = {f"module._orig_mod.{name}": tensor.clone() for name, tensor in module.state_dict().items()}
    wrapped = measured(module, calibration, Weights.from_state_dict(state))
    assert wrapped.keys() == set(state)
    for name, sensitivity in plain.items():
        assert torch.equal(wrapped[f"module._orig_mod.{name}"].row_totals, sensitivity.row_totals)

    compiled = nn.Module()
    compiled._orig_mod = module
    compiled.forward = module.forward
    stripped = measured(compiled, calibration, Weights.from_module(module))
    assert stripped.keys() == plain.keys()


def test_a_stored_tensor_may_be_named_as_no_parameter_is():
    """The embedding is left out of the file by the name under which the module knows the parameter."""
    module = TiedNet()
    assert [name for name, _ in module.named_parameters()] == ["table.weight"]
    weights = Weights.from_module(module, exclude=["table.weight"])
    assert measured(module, ids(), weights).keys() == {"head.weight"}


def test_pruned_parameters_count_where_they_are_not_0():
    module = nn.Linear(6, 4)
    prune.l1_unstructured(module, "weight", amount=0.5)
    found = measured(module, vectors(6))
    assert found.keys() == {"weight", "bias"}
    kept = module.weight_mask.bool()
    assert torch.equal(found["weight"].column_curvature.diagonal() > 0, kept.any(0))


class PartlyUsed(nn.Module):
    """One branch the loss never sees, and one whose answer is multiplied by 0."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(9)
        self.used, self.unused, self.silent = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x):
        return self.used(x) + 0.0 * self.silent(x)


def test_what_the_loss_does_not_feel_is_left_out():
    assert measured(PartlyUsed(), vectors(6)).keys() == {"used.weight", "used.bias"}


class BadBatch(Batches):
    """The third batch fails, in the way asked for."""

    def __init__(self, how):
        super().__init__(vectors(6, count=4).batches)
        self.how, self.calls = how, 0

    def __iter__(self):
        for number, batch in enumerate(self.batches):
            if self.how == "iteration" and number == 2:
                raise OSError("disk gone")
            yield batch

    def loss(self, module, batch):
        self.calls += 1
        loss = super().loss(module, batch)
        if self.calls < 3:
            return loss
        if self.how == "raises":
            raise ValueError("too long")
        if self.how == "vector":
            return module(batch[0])
        if self.how == "number":
            return 3.5
        return loss * float(self.how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "calibration.loss failed on batch 2 with ValueError: too long"),
        ("vector", "calibration.loss failed on batch 2 with RuntimeError: grad can be implicitly created only"),
        ("number", "calibration.loss failed on batch 2 with"),
        ("nan", "batch 2 gives '(weight|bias)' a gradient that is not finite"),
        ("inf", "batch 2 gives '(weight|bias)' a gradient that is not finite"),
        ("1e30", "batch 2 gives '(weight|bias)' a gradient that is not finite, or too large"),
        ("iteration", "calibration fails to give batch 2, with OSError: disk gone"),
    ],
)
def test_a_batch_that_fails_leaves_the_module_as_it_was(how, message):
    module = nn.Linear(6, 4)
    module.weight.requires_grad_(False)
    before = state_of(module)
    with pytest.raises(SearchError, match=message):
        measured(module, BadBatch(how))
    expect_same(module, before)
    assert [p.requires_grad for p in module.parameters()] == [False, True]


def test_batches_that_are_given_but_once_are_refused():
    calibration = Batches([])
    with pytest.raises(SearchError, match="calibration gives no batch this time"):
        measured(nn.Linear(6, 4), calibration)


def test_a_quadratic_loss_has_its_own_curvature():
    """Of half the squared answers of one row: the gradient is answer times input."""
    module = nn.Linear(6, 1, bias=False)
    calibration = vectors(6, size=1, cls=Squares)
    (sensitivity,) = measured(module, calibration).values()
    gradients = torch.stack([module(x).item() * x[0] for x, _ in calibration])
    assert sensitivity.column_curvature is None
    torch.testing.assert_close(sensitivity.row_totals, gradients.square().sum(0), rtol=1e-5, atol=0)


def test_a_search_with_a_module_in_training_mode():
    net = Net().train()
    Agreement(net.eval())
    assert measured(net.train(), ids()).keys() == dict(net.named_parameters()).keys()
