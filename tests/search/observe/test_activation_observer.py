"""Observing operators: inputs of every kind of product, lookups, softmax curvature; and results do not change."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_compress import Weights
from lightning_compress.search.families.input_guided import Observer
from lightning_compress.search.observe import ActivationObserver, InputStatistics, activation_observer, input_statistics
from lightning_compress.search.observe.fused_operators import FUSED_OPERATORS
from lightning_compress.weights.bindings import bindings_of

WIDTH, HEADS = 16, 2


@pytest.fixture(autouse=True)
def _every_input(monkeypatch):
    torch.manual_seed(3)
    monkeypatch.setattr(input_statistics, "_COST_SHARE", 100.0)


def observed(module, run, *, grad=torch.no_grad):
    """Statistics by name of what the module uses while ``run`` runs, in evaluation mode."""
    observer = Observer(Weights.from_module(module), module.eval())
    with grad(), observer.recording():
        run()
    return observer.observations


def mean_grams(statistics):
    return {name: each.gram / each.inputs for name, each in statistics.items() if each.gram is not None}


def expect_near(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


class Uses(nn.Module):
    """One matrix, used by one kind of product."""

    def __init__(self, way):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, WIDTH))
        self.bias = nn.Parameter(torch.randn(6))
        self.way = way

    def forward(self, x):
        return self.way(x, self.weight, self.bias)


WAYS = {
    "linear": lambda x, w, b: F.linear(x, w, b),
    "linear without bias": lambda x, w, b: F.linear(x, w),
    "matmul": lambda x, w, b: x @ w.T,
    "transposed": lambda x, w, b: w @ x.reshape(-1, WIDTH).T,
    "three dimensions": lambda x, w, b: F.linear(x.reshape(2, 2, WIDTH), w, b),
    "einsum": lambda x, w, b: torch.einsum("bi,oi->bo", x, w),
    "addmm": lambda x, w, b: torch.addmm(b, x, w.t()),
    "batches": lambda x, w, b: torch.bmm(x[None].expand(1, -1, -1), w.t()[None]),
    "one matrix for all": lambda x, w, b: torch.bmm(x[:, None], w.t().expand(len(x), -1, -1)),
    "vectors": lambda x, w, b: torch.stack([w @ row for row in x]),
    "vectors and bias": lambda x, w, b: torch.stack([torch.addmv(b, w, row) for row in x]),
    "rows in two parts": lambda x, w, b: torch.cat([F.linear(x, part) for part in w.split(3)], -1),
}


@pytest.mark.parametrize("grad", [torch.no_grad, torch.inference_mode, nullcontext])
@pytest.mark.parametrize("way", WAYS)
def test_inputs_of_a_matrix_are_recorded_for_every_kind_of_product(way, grad):
    module, x = Uses(WAYS[way]), torch.randn(4, WIDTH)
    seen = observed(module, lambda: module(x), grad=grad)["weight"]
    torch.testing.assert_close(seen.gram, x.T @ x)
    assert seen.inputs == pytest.approx(4)
    assert (seen.lookups, seen.softmax_curvature) == (None, None)


@pytest.mark.parametrize(
    "way",
    [
        lambda x, w, b: x @ w.T.clone(),  # a copy
        lambda x, w, b: x[:, :6] @ w,  # the matrix, not transposed
        lambda x, w, b: F.linear(x[:, 1:], w[:, 1:]),  # a part of the columns
        lambda x, w, b: x * w[0],
    ],
)
def test_other_uses_are_left_out(way):
    module, x = Uses(way), torch.randn(4, WIDTH)
    assert not observed(module, lambda: module(x))


def test_embeddings_count_how_often_a_row_is_used():
    table, ids = nn.Embedding(5, WIDTH), torch.tensor([[0, 3, 3], [4, 0, 3]])
    expected = torch.tensor([2.0, 0, 0, 3, 1], dtype=torch.float64)
    bag = nn.EmbeddingBag(5, WIDTH)
    for module, run in (
        (table, lambda: table(ids)),
        (table, lambda: table.weight.index_select(0, ids.flatten())),
        (table, lambda: table.weight[ids]),
        (table, lambda: table.weight[ids - 5]),
        (bag, lambda: bag(ids)),
    ):
        seen = observed(module, run)["weight"]
        assert torch.equal(seen.lookups, expected)
        assert seen.gram is None


class Tied(nn.Module):
    """An embedding tied to the output projection."""

    def __init__(self, compare):
        super().__init__()
        self.embedding = nn.Embedding(9, WIDTH)
        self.projection = nn.Linear(WIDTH, 9, bias=False)
        self.projection.weight = self.embedding.weight
        self.compare = compare

    def forward(self, ids):
        return self.compare(self.projection(torch.tanh(self.embedding(ids))))


COMPARISONS = {
    "argmax": lambda scores: scores.argmax(-1),
    "of the last": lambda scores: scores[:, -1:].argmax(-1),
    "max": lambda scores: scores.max(2).values,
    "softmax": lambda scores: scores.softmax(-1),
    "log_softmax": lambda scores: scores.log_softmax(-1),
    "topk": lambda scores: scores.topk(3).indices,
    "cross_entropy": lambda scores: F.cross_entropy(scores.flatten(0, 1), torch.zeros(6, dtype=torch.long)),
}


@pytest.mark.parametrize("grad", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("compare", COMPARISONS)
def test_a_tied_table_has_lookups_inputs_and_softmax_curvature(compare, grad):
    module, ids = Tied(COMPARISONS[compare]), torch.tensor([[1, 2, 2], [8, 0, 2]])
    (seen,) = observed(module, lambda: module(ids), grad=grad).values()
    assert seen.lookups.tolist() == [1, 1, 3, 0, 0, 0, 0, 0, 1]
    hidden = torch.tanh(module.embedding(ids)).reshape(-1, WIDTH).detach()
    torch.testing.assert_close(seen.gram, hidden.T @ hidden)
    hidden = hidden[2::3] if compare == "of the last" else hidden
    p = (hidden @ module.embedding.weight.T).softmax(-1).detach()
    torch.testing.assert_close(seen.softmax_curvature, (p * (1 - p)).sum(0).double())


def test_outputs_without_a_softmax_have_no_softmax_curvature():
    for compare in (
        torch.relu,
        lambda s: s.argmax(0),
        lambda s: s.argmax(),
        lambda s: torch.cat([s, s], -1).argmax(-1),
    ):
        module = Tied(compare)
        (seen,) = observed(module, lambda m=module: m(torch.tensor([1, 2]))).values()
        assert seen.softmax_curvature is None


MASKS = {
    "none": {},
    "hidden": {"src_mask": torch.ones(5, 5).triu(1).bool()},
    "padding": {"src_key_padding_mask": torch.arange(5) >= torch.tensor([5, 4, 5, 4, 3, 5, 5, 5])[:, None]},
}
MASKS["both"] = MASKS["hidden"] | MASKS["padding"]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("norm_first", "activation"), [(True, "relu"), (False, "gelu")])
def test_a_fused_encoder_layer_records_the_products_inside_it(mask, norm_first, activation):
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, norm_first=norm_first, activation=activation, batch_first=True)
    x, every = torch.randn(8, 5, WIDTH), slice(None, None, 4)
    masks = {name: m if m.shape == (5, 5) else m[every] for name, m in MASKS[mask].items()}
    fast = mean_grams(observed(layer, lambda: layer(x, **MASKS[mask])))
    # With gradients the layer does not use the fused kernel.
    slow = mean_grams(observed(layer, lambda: layer(x[every], **masks), grad=nullcontext))
    assert fast.keys() == {"self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight"}
    expect_near(fast, slow)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_sequences_are_recorded_one_by_one():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True), 1)
    x, padding = torch.randn(8, 5, WIDTH), MASKS["padding"]["src_key_padding_mask"]
    alone = [x[k : k + 1, : int((~padding[k]).sum())] for k in (0, 4)]
    fast = mean_grams(observed(encoder, lambda: encoder(x, src_key_padding_mask=padding)))
    slow = mean_grams(observed(encoder, lambda: [encoder(one) for one in alone], grad=nullcontext))
    expect_near(fast, slow)


@pytest.mark.parametrize("grad", [torch.no_grad, torch.inference_mode, nullcontext])
def test_attention_to_other_sequences(grad):
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x, y = torch.randn(8, 2, WIDTH), torch.randn(8, 3, WIDTH)
    seen = observed(layer, lambda: layer(x, y, y, need_weights=False), grad=grad)["in_proj_weight"]
    inputs, others = x.reshape(-1, WIDTH), y.reshape(-1, WIDTH)
    if seen.inputs < 16:  # fused kernel: every fourth sequence was recomputed
        inputs, others = x[::4].reshape(-1, WIDTH), y[::4].reshape(-1, WIDTH)
    torch.testing.assert_close(seen.gram, (inputs.T @ inputs + 2 * others.T @ others) / 3)


@pytest.mark.parametrize("both_ways", [False, True])
def test_every_layer_of_an_lstm_records_inputs_and_states(both_ways):
    lstm, x = nn.LSTM(WIDTH, 12, 2, bidirectional=both_ways), torch.randn(5, 3, WIDTH)
    fused = observed(lstm, lambda: lstm(x))
    assert len(fused) == (8 if both_ways else 4)
    whole = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 5, 5]))  # which is computed step by step
    stepped = observed(lstm, lambda: lstm(whole))
    expect_near(mean_grams(fused), mean_grams(stepped))
    torch.testing.assert_close(fused["weight_ih_l0"].gram, sum(step.T @ step for step in x))
    state = lstm(x)[0][:, :, :12].detach() if not both_ways else None
    if state is not None:
        torch.testing.assert_close(stepped["weight_hh_l1"].gram, sum(h.T @ h for h in state[:-1]))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("packed", [False, True])
def test_fused_recurrent_layers_are_recomputed(kind, packed):
    """The handler of the cuDNN kernel, called on the CPU with the arguments that cuDNN would get."""
    module, x = kind(WIDTH, 12, 2), torch.randn(5, 8, WIDTH)
    state = torch.zeros(2, 8, 12)
    lengths, every = torch.tensor([5, 5, 4, 4, 3, 2, 2, 1]), slice(None, None, 4)
    pack = nn.utils.rnn.pack_padded_sequence
    whole = pack(x, lengths) if packed else x
    part = pack(x[:, every], lengths[every]) if packed else x[:, every]
    sizes = whole.batch_sizes.tolist() if packed else []
    mode = {nn.RNN: 1, nn.LSTM: 2, nn.GRU: 3}[kind]
    cell = state if kind is nn.LSTM else None
    data = whole.data if packed else whole
    weights, statistics = Weights.from_module(module), {}
    recorder = ActivationObserver(bindings_of(weights, module), statistics)
    arguments = (list(module.parameters()), 4, None, state, cell, mode, 12, 0, 2, False, 0.0, False, False, sizes)
    with torch.no_grad():
        FUSED_OPERATORS[torch.ops.aten._cudnn_rnn.default](recorder, None, data, *arguments, None)
    for seen in statistics.values():
        seen.finish()
    expect_near(mean_grams(statistics), mean_grams(observed(module, lambda: module(part))))


class Both(nn.Module):
    """Most kinds of layers, ending in a softmax over words."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2, bidirectional=True, batch_first=True)
        self.down = nn.Linear(2 * WIDTH, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 24, batch_first=True)
        self.convolution = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(WIDTH, 30)

    def forward(self, ids):
        x = self.layer(self.down(self.lstm(self.embedding(ids))[0]))
        return self.head(self.dropout(self.convolution(x.transpose(1, 2)).transpose(1, 2))).log_softmax(-1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("grad", [torch.no_grad, torch.inference_mode, nullcontext])
def test_observing_changes_no_bit(grad, training):
    module, ids = Both(), torch.randint(0, 30, (8, 6))
    module.train(training)
    observer = Observer(Weights.from_module(module), module)
    with grad():
        torch.manual_seed(7)
        alone = module(ids)
        torch.manual_seed(7)
        with observer.recording():
            beside = module(ids)
        state = torch.get_rng_state()
        torch.manual_seed(7)
        module(ids)
    if grad is torch.inference_mode:  # a product may be summed in another order
        torch.testing.assert_close(alone, beside, rtol=1e-6, atol=1e-6)
    else:
        assert torch.equal(alone, beside)
    assert torch.equal(state, torch.get_rng_state())
    assert beside.requires_grad == (grad is nullcontext)
    assert observer.observations.keys() >= {
        "embedding.weight",
        "lstm.weight_hh_l1_reverse",
        "down.weight",
        "head.weight",
    }


def test_many_inputs_are_sampled_evenly_and_the_same_each_time(monkeypatch):
    monkeypatch.setattr(input_statistics, "_COST_SHARE", 0.125)
    x = torch.randn(4000, WIDTH)
    first, second = (InputStatistics(8, WIDTH) for _ in range(2))
    for seen in (first, second):
        for part in x.split(500):
            seen.add_inputs(part, 8)
        seen.finish()
    assert WIDTH < first.inputs <= WIDTH + len(x) * 8 / WIDTH / 8
    assert torch.equal(first.gram, second.gram)
    torch.testing.assert_close(first.gram / first.inputs, torch.eye(WIDTH), atol=0.35, rtol=0)


def test_gram_matrices_take_no_more_memory_than_weights(monkeypatch):
    monkeypatch.setattr(activation_observer, "_MIN_GRAM_ELEMENTS", 0)
    module = nn.Sequential(nn.Linear(40, 8, bias=False), nn.Linear(8, 40, bias=False))
    seen = observed(module, lambda: module(torch.randn(4, 40)))
    assert {name for name, one in seen.items() if one.gram is not None} == {"1.weight"}


def test_inputs_that_are_not_finite_are_dropped():
    module = nn.Linear(WIDTH, 20)
    seen = observed(module, lambda: module(torch.full((3, WIDTH), torch.inf)).argmax(-1))["weight"]
    assert (seen.gram, seen.softmax_curvature) == (None, None)


def test_a_call_that_cannot_be_recorded_is_left_out(monkeypatch):
    def broken(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(InputStatistics, "add_inputs", broken)
    module = nn.Linear(WIDTH, 20)
    seen = observed(module, lambda: module(torch.ones(3, WIDTH)).argmax(-1))
    assert all(one.gram is None for one in seen.values())
