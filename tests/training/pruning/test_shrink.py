"""A shrunk module computes what the pruned one does, has fewer weights, trains on, and is exported and loaded back."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lightning_compress import Half, Plan, Raw, Rule, Weights, compress, load_from_checkpoint
from lightning_compress.errors import TrainingError
from lightning_compress.training import (
    Grouping,
    Masks,
    Schedule,
    Structure,
    describes,
    drop_layers,
    feed_forward,
    shrink,
    shrink_to,
    structures_of,
)
from lightning_compress.weights import load_into
from recipes.data.vocabulary import BOS, EOS, PAD
from recipes.models.rnn import Rnn
from recipes.models.transformer import Transformer
from recipes.rnn import RnnTranslation
from recipes.transformer import TransformerTranslation

pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype"),
]
SOURCE = torch.tensor([[5, 6, 7, EOS], [8, EOS, PAD, PAD]])
PREVIOUS = torch.tensor([[BOS, 4, 5, 6, 7], [BOS, 8, 4, 4, 5]])


class Attends(nn.Module):
    """Torch's attention over itself, of whatever options."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, **options)

    def forward(self, x, **options):
        return self.attention(x, x, x, **options)[0]


class CrossAttends(nn.Module):
    """Keys and values of other widths, so that each projection has a weight of its own."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, kdim=5, vdim=7, batch_first=True)

    def forward(self, x):
        return self.attention(x, x[..., :5], x[..., :7], need_weights=False)[0]


class Recurs(nn.Module):
    """An LSTM, and the state that it gives."""

    def __init__(self, **options):
        super().__init__()
        self.lstm = nn.LSTM(4, 6, **options)

    def forward(self, x):
        output, state = self.lstm(x)
        return torch.cat([output.flatten(), *(each.flatten() for each in state)])


class Packed(Recurs):
    """The same, of sequences of several lengths."""

    def forward(self, x):
        packed = pack_padded_sequence(x, [3, 5, 2], batch_first=True, enforce_sorted=False)
        output, state = self.lstm(packed)
        output, state = self.lstm(packed, state)
        return torch.cat([pad_packed_sequence(output)[0].flatten(), *(each.flatten() for each in state)])


def encoder(**options):
    layer = nn.TransformerEncoderLayer(12, 4, 16, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=not options.get("norm_first"))


def transformer(**options):
    return nn.Transformer(12, 4, 2, 2, 16, batch_first=True, **options)


def convolutions():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Conv2d(8, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False), nn.SiLU()),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 10),
        nn.Sigmoid(),
        nn.Linear(10, 3),
    )


WORDS = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1))
FEW = WORDS[..., :4].contiguous()
PADDING = torch.arange(5)[None] >= torch.tensor([5, 3, 2])[:, None]
IMAGES = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(2))
# name: how it is made, its inputs, options of its forward pass, the kinds of structures it has
CASES = {
    "attention": (Attends, (WORDS,), {"need_weights": False}, ("head",)),
    "attention with weights": (
        lambda: Attends(batch_first=True, bias=False), (WORDS,), {"key_padding_mask": PADDING}, ("head",)
    ),
    "attention of one sequence": (Attends, (WORDS[0],), {"attn_mask": torch.ones(5, 5).triu(1).bool()}, ("head",)),
    "attention to others": (CrossAttends, (WORDS,), {}, ("head",)),
    "encoder": (encoder, (WORDS,), {"src_key_padding_mask": PADDING}, ("head", "neuron")),
    "encoder, norm first": (lambda: encoder(norm_first=True), (WORDS,), {}, ("head", "neuron", "layer")),
    "transformer": (transformer, (WORDS, WORDS), {}, ("head", "neuron")),
    "transformer, norm first": (lambda: transformer(norm_first=True), (WORDS, WORDS), {}, ("head", "neuron", "layer")),
    "lstm": (lambda: Recurs(num_layers=2), (FEW,), {}, ("neuron",)),
    "lstm, both directions": (
        lambda: Recurs(num_layers=2, bidirectional=True, batch_first=True), (FEW,), {}, ("neuron",)
    ),
    "lstm of one sequence": (lambda: Recurs(bias=False), (FEW[0],), {}, ("neuron",)),
    "lstm of packed sequences": (
        lambda: Packed(num_layers=2, bidirectional=True, batch_first=True), (FEW,), {}, ("neuron",)
    ),
    "convolutions": (convolutions, (IMAGES,), {}, ("channel", "neuron")),
    "recipe transformer": (
        lambda: Transformer(9, 9, width=12, heads=3, feed_forward=16, encoder_layers=2, decoder_layers=2),
        (SOURCE, PREVIOUS), {}, ("head", "neuron"),
    ),
    "recipe transformer, norm first": (
        lambda: Transformer(9, 9, width=12, heads=3, feed_forward=16, encoder_layers=3, decoder_layers=2, norm="pre"),
        (SOURCE, PREVIOUS), {}, ("head", "neuron", "layer"),
    ),
    "recipe rnn": (lambda: Rnn(9, 9, width=8, layers=4, bidirectional=True), (SOURCE, PREVIOUS), {}, ("neuron",)),
}  # fmt: skip


def made(name):
    make, inputs, options, kinds = CASES[name]
    torch.manual_seed(0)
    module = make().eval()
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.LayerNorm)) and part.weight is not None:
            nn.init.uniform_(part.weight, 0.5, 1.5)
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-1, 1)
    for parameter in module.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.1, 0.6)
    return module, inputs, options, kinds


def prune(module, kind, share=0.5, *, is_global=True):
    masks = Masks(module, Weights.from_module(module), None, grouping=Grouping(kind), is_global=is_global)
    masks.update(Schedule(share, shape="one-shot"), 0)
    return masks


def weights_in(module):
    return sum(each.numel() for each in module.parameters())


def computed(module, inputs, options):
    with torch.no_grad():
        output = module(*inputs, **options)
    padding = options.get("src_key_padding_mask")  # where torch gives 0 or other values, as it chooses
    return output if padding is None else output.masked_fill(padding[..., None], 0)


def test_a_shrunk_module_computes_what_the_pruned_one_does():
    for name in CASES:
        for kind in CASES[name][3]:
            with naming((name, kind)):
                module, inputs, options, _ = made(name)
                before, size = computed(module, inputs, options), weights_in(module)
                masks = prune(module, kind)
                pruned = computed(module, inputs, options)
                assert kind == "layer" or not torch.allclose(pruned, before, atol=1e-3)
                zeros = sum(int(each.sum()) for each in masks.pruned.values())
                assert zeros > 0
                smaller = shrink(module)
                torch.testing.assert_close(computed(smaller, inputs, options), pruned, rtol=1e-4, atol=1e-5)
                assert weights_in(smaller) < 0.95 * size


def test_a_shrunk_module_trains_on_is_exported_and_loaded_back():
    for name in CASES:
        with naming(name):
            module, inputs, options, kinds = made(name)
            for kind in kinds:
                prune(module, kind, 0.4)
            smaller = shrink(module).train()
            optimizer = torch.optim.SGD(smaller.parameters(), lr=0.05)
            losses = []
            for _ in range(5):
                torch.manual_seed(3)
                loss = smaller(*inputs, **options).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            assert losses[-1] < losses[0]
            stored = compress(smaller.eval(), Plan(Rule("*", Raw()))).restore()
            fresh = shrink_to(made(name)[0], stored)
            load_into(fresh, stored)
            torch.testing.assert_close(
                computed(fresh, inputs, options), computed(smaller, inputs, options), rtol=0, atol=0
            )


def test_a_module_is_shrunk_again():
    for name in ("attention", "lstm, both directions", "encoder", "recipe rnn"):
        with naming(name):
            module, inputs, options, kinds = made(name)
            sizes = []
            for share in (0.34, 0.5):
                prune(module, kinds[-1], share, is_global=False)
                pruned = computed(module, inputs, options)
                module = shrink(module)
                torch.testing.assert_close(computed(module, inputs, options), pruned, rtol=1e-4, atol=1e-5)
                sizes.append(weights_in(module))
            assert sizes[1] < sizes[0]


def test_nothing_goes_where_nothing_is_pruned():
    for name in CASES:
        with naming(name):
            module = made(name)[0]
            before = {key: value.clone() for key, value in module.state_dict().items()}
            types = [type(each) for each in module.modules()]
            assert shrink(module) is module
            assert [type(each) for each in module.modules()] == types
            assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_one_unit_of_each_structure_stays():
    for name in ("attention", "encoder, norm first", "lstm, both directions", "convolutions", "recipe rnn"):
        with naming(name):
            module, inputs, options, kinds = made(name)
            for kind in kinds:
                prune(module, kind, 1.0)
            pruned = computed(module, inputs, options)
            smaller = shrink(module)
            torch.testing.assert_close(computed(smaller, inputs, options), pruned, rtol=1e-4, atol=1e-5)
            assert {each.units for each in structures_of(smaller)} == {1}


def test_structural_zeros_cost_nearly_nothing_in_the_file():
    plan = Plan(Rule("*", Half()))
    layer = nn.TransformerEncoderLayer(64, 8, 128, batch_first=True, norm_first=True)
    for kind, make in (
        ("head", lambda: nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)),
        ("neuron", lambda: nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)),
        ("layer", lambda: nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)),
        ("neuron", lambda: nn.LSTM(32, 64, num_layers=2)),
        ("channel", lambda: nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 32, 3))),
    ):
        with naming(kind):
            torch.manual_seed(0)
            module = make()
            prune(module, kind)
            zeros = sum(int((each == 0).sum()) for each in module.parameters())
            pruned, shrunk = compress(module, plan).nbytes, compress(shrink(module), plan).nbytes
            assert pruned - shrunk < 0.03 * 2 * zeros  # a share of the bytes that they would take at 16 bits


def test_a_structure_of_one_s_own_is_found_and_removed():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(4, 9), nn.Linear(9, 4)

        def forward(self, x):
            return self.down(torch.relu(self.up(x)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = Own()

        def forward(self, x):
            return self.own(x)

    with pytest.raises(TrainingError, match=r"no part of Net is known to have a neuron.*describes"):
        prune(Net(), "neuron")

    @describes(Own)
    def neurons(module, name):
        yield feed_forward(name, [module.up], module.down)

    module = Net()
    prune(module, "neuron", 2 / 3)
    pruned = module(FEW)
    torch.testing.assert_close(shrink(module)(FEW), pruned)
    assert module.own.up.weight.shape == (3, 4)


def test_layers_are_dropped_whatever_their_weights_are():
    module, inputs, options, _ = made("encoder, norm first")
    layers = list(module.layers)
    assert drop_layers(module, 1 / 3) is module
    assert list(module.layers) == layers[:2]
    assert module.num_layers == 2
    drop_layers(module, layers=["layers.0"])
    assert list(module.layers) == [layers[1]]
    assert computed(module, inputs, options).shape == WORDS.shape
    for arguments, message in (
        ({"layers": ["layers.7"]}, r"no layer 'layers\.7'.*there are layers\.0"),
        ({"layers": ["layers.0"]}, "all 1 layers of layers would go"),
        ({"share": 1.5}, "between 0 and 1"),
    ):
        with naming(arguments), pytest.raises(TrainingError, match=message):
            drop_layers(module, **arguments)
    with pytest.raises(TrainingError, match="no stack of known layers"):
        drop_layers(nn.Linear(2, 2))


def test_what_does_not_fit_is_refused():
    module, *_ = made("encoder")
    with pytest.raises(TrainingError, match=r"'layers\.0\.linear1\.weight' has 20 rows, expected 1 to 16 times 1"):
        shrink_to(module, {"layers.0.linear1.weight": torch.zeros(20, 12)})
    module, inputs, _, _ = made("attention")
    prune(module, "head", 0.4)
    with pytest.raises(TrainingError, match=r"rows for each of the original heads"):
        shrink(module)(*inputs, attn_mask=torch.zeros(15, 3, 3).bool())


def test_parts_that_cannot_be_cut_stay_as_zeros():
    module = Attends(add_bias_kv=True)
    prune(module, "head", 0.4)
    pruned = module(WORDS)
    assert isinstance(shrink(module).attention, nn.MultiheadAttention)
    torch.testing.assert_close(module(WORDS), pruned)


def test_modules_that_compute_in_their_own_way_or_share_parameters_keep_their_shapes():
    class OwnWay(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    class OwnLSTM(nn.LSTM):
        pass

    own = OwnWay(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    assert structures_of(own) == []
    assert len(structures_of(nn.Sequential(own, nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))))) == 1
    shared = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    shared[2].weight = shared[0].weight
    recurrent = Recurs()
    recurrent.lstm = OwnLSTM(4, 6)
    for module in (shared, recurrent):
        with naming(type(module)):
            prune(module, "neuron")
            pruned, shapes = module(FEW), [each.shape for each in module.parameters()]
            smaller = shrink(module)
            torch.testing.assert_close(smaller(FEW), pruned)
            assert [each.shape for each in smaller.parameters()] == shapes


def test_the_recipes_take_the_sizes_of_a_file(tmp_path):
    for kind, make in (
        ("neuron", lambda: RnnTranslation(9, 9, width=8)),
        ("head", lambda: TransformerTranslation(9, 9, width=12, heads=3, feed_forward=16)),
        ("layer", lambda: TransformerTranslation(9, 9, width=12, heads=3, feed_forward=16, norm="pre")),
    ):
        with naming(kind):
            module = make()
            size = weights_in(module)
            prune(module, kind)
            path = tmp_path / f"{kind}.safetensors"
            compress(shrink(module.eval()), Plan(Rule("*", Raw()))).save(path)
            loaded = load_from_checkpoint(type(module), path).eval()
            assert weights_in(loaded) == weights_in(module) < size
            torch.testing.assert_close(loaded.network(SOURCE, PREVIOUS), module.network(SOURCE, PREVIOUS))


def test_descriptions_name_each_structure_once():
    for name in CASES:
        with naming(name):
            found = structures_of(made(name)[0])
            assert len({(each.kind, each.name) for each in found}) == len(found) > 0
            assert all(isinstance(each, Structure) and each.units > 0 for each in found)


def test_structures_that_are_not_stored_as_a_whole_are_left_out(caplog):
    module, *_ = made("encoder")
    weights = Weights.from_module(module, exclude=["layers.1.*bias"])
    masks = Masks(module, weights, None, grouping=Grouping("head"))
    assert list(masks.groups) == ["layers.0.self_attn", "layers.2.self_attn"]
    assert "not pruned, since not all of it is stored: layers.1.self_attn" in caplog.text
