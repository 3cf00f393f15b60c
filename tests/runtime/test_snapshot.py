"""A module is restored bit for bit, whatever was changed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from small_network import Net, expect_same, state_of
from torch import nn
from torchmetrics import CatMetric, MeanMetric

from lightning_compress.runtime import preserved_module
from lightning_compress.runtime.snapshot import TensorCopies


def load_zeros(module):
    for tensor in module.state_dict().values():
        tensor.zero_()


def change_in_place(module):
    with torch.no_grad():
        module.head.weight.add_(1)
        module.mask.mul_(0)


def train_a_step(module):
    module.train()
    module(torch.arange(8)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=1.0).step()


def make_half(module):
    module.half()


def replace_buffer(module):
    module.mask = torch.zeros(3)
    module.norm.running_mean = None


def replace_parameter(module):
    module.head.weight = nn.Parameter(torch.zeros(1))
    del module.head.bias


def freeze(module):
    module.requires_grad_(False)


def clear_gradients(module):
    module.zero_grad(set_to_none=False)
    module.head.weight.grad = torch.ones_like(module.head.weight)


def add_attributes(module):
    module.cache = torch.ones(5)
    module.seen.append("later")
    module.table["b"] = 2
    module.plain.fill_(7)
    module.text = "other"
    module.register_forward_hook(lambda *_: None)
    module.head.note = 1


def draw_random_numbers(module):
    random.random()
    np.random.rand(3)  # noqa: NPY002
    torch.rand(3)


CHANGES = [
    load_zeros,
    change_in_place,
    train_a_step,
    make_half,
    replace_buffer,
    replace_parameter,
    freeze,
    clear_gradients,
    add_attributes,
    draw_random_numbers,
]


@pytest.fixture
def module():
    """A network with gradients, one submodule in another mode, one frozen parameter, and plain attributes."""
    net = Net()
    net(torch.arange(8)).square().sum().backward()
    net.norm.eval()
    net.head.bias.requires_grad_(False)
    net.seen, net.table, net.plain, net.text = ["before"], {"a": 1}, torch.arange(3), "text"
    return net


@pytest.mark.parametrize("fails", [False, True], ids=["", "and an error"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_is_undone(module, change, fails):
    values, gradients = (
        state_of(module),
        {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None},
    )
    objects = [id(tensor) for tensor in (*module.parameters(), *module.buffers())]
    grad_objects = [id(p.grad) for p in module.parameters() if p.grad is not None]
    addresses = [tensor.data_ptr() for tensor in module.state_dict().values()]
    modes = [part.training for part in module.modules()]
    requires_grad = [parameter.requires_grad for parameter in module.parameters()]
    attributes = set(vars(module))
    random_states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    try:
        with preserved_module(module):
            change(module)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    expect_same(module, values)
    assert [id(tensor) for tensor in (*module.parameters(), *module.buffers())] == objects
    assert [id(p.grad) for p in module.parameters() if p.grad is not None] == grad_objects
    assert [tensor.data_ptr() for tensor in module.state_dict().values()] == addresses
    assert [part.training for part in module.modules()] == modes
    assert [parameter.requires_grad for parameter in module.parameters()] == requires_grad
    assert set(vars(module)) == attributes
    assert (module.seen, module.table, module.text) == (["before"], {"a": 1}, "text")
    assert torch.equal(module.plain, torch.arange(3))
    assert not module._forward_hooks
    assert not hasattr(module.head, "note")
    for name, parameter in module.named_parameters():
        assert (parameter.grad is None) == (name not in gradients)
        assert parameter.grad is None or torch.equal(parameter.grad, gradients[name])
    assert random.getstate() == random_states[0]
    assert np.array_equal(np.random.get_state()[1], random_states[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), random_states[2])


def test_a_snapshot_can_be_restored_repeatedly(module):
    values = state_of(module)
    with preserved_module(module) as snapshot:
        for change in (train_a_step, make_half, add_attributes):
            change(module)
            snapshot.restore()
            expect_same(module, values)


def test_the_state_of_metrics_is_restored():
    module = Net()
    module.mean, module.all = MeanMetric(), CatMetric()
    module.mean.update(torch.tensor([1.0, 2.0]))
    module.all.update(torch.tensor([1.0]))
    with preserved_module(module):
        module.mean.update(torch.tensor(50.0))
        module.all.update(torch.tensor([2.0]))
        module.mean.compute()
        module.all.reset()
    assert module.mean.compute() == 1.5
    assert module.all.compute() == torch.tensor([1.0])


def test_the_flat_weights_of_an_lstm_are_its_parameters():
    module = nn.LSTM(3, 4, num_layers=2)
    x = torch.randn(5, 2, 3)
    expected = module(x)[0]
    with preserved_module(module):
        load_zeros(module)
        assert not torch.equal(module(x)[0], expected)
    assert torch.equal(module(x)[0], expected)
    assert all(flat is own for flat, own in zip(module._flat_weights, module.parameters(), strict=True))


def test_a_lazy_module_stays_lazy():
    module = nn.LazyLinear(3)
    with preserved_module(module):
        pass
    assert torch.nn.parameter.is_lazy(module.weight)


def test_copies_share_memory_as_the_originals_do():
    base = torch.arange(12.0)
    views = [base[2:8].view(2, 3), base.view(3, 4).t(), base]
    copies = TensorCopies()
    made = [copies.copy_of(view) for view in views]
    base.zero_()
    assert torch.equal(made[0], torch.arange(12.0)[2:8].view(2, 3))
    assert torch.equal(made[1], torch.arange(12.0).view(3, 4).t())
    assert made[1].stride() == views[1].stride()
    assert len({copy.untyped_storage().data_ptr() for copy in made}) == 1
    assert base[3:] in copies
    assert torch.ones(1) not in copies


def test_conjugated_and_sparse_tensors_are_copied_by_value():
    complex_ = torch.randn(3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TensorCopies().copy_of(complex_.conj()), complex_.conj())
    sparse = torch.eye(3).to_sparse()
    assert torch.equal(TensorCopies().copy_of(sparse).to_dense(), torch.eye(3))


def test_a_buffer_that_repeats_its_memory_is_restored():
    module = nn.Linear(3, 2)
    module.register_buffer("index", torch.arange(3).expand(2, 3), persistent=False)
    module(torch.ones(1, 3)).sum().backward()
    gradient = module.weight.grad.clone()
    with preserved_module(module):
        module.index[0].fill_(7)
    assert module.index.tolist() == [[0, 1, 2]] * 2
    assert torch.equal(module.weight.grad, gradient)
