"""Cases: shapes, steps, padding, both searches, residuals, both directions, attention, classes, wrong sizes."""

import itertools

import pytest
import torch

from lightning_compress.weights.classes import classify
from recipes.data.vocabulary import BOS, EOS, PAD
from recipes.models.bahdanau import NormalizedAttention
from recipes.models.lstm import BidirectionalLayer, LstmLayer, turn
from recipes.models.rnn import Rnn
from recipes.search.beam import beam_search
from recipes.search.greedy import greedy_search

SOURCE = torch.tensor([[5, 6, 7, EOS], [8, EOS, PAD, PAD], [4, 9, EOS, PAD]])
PREVIOUS = torch.tensor([[BOS, 4, 5, 6, 7], [BOS, 8, 4, 4, 5], [BOS, 7, 7, 6, 5]])
FORMS = pytest.mark.parametrize(
    "form",
    [{"layers": 2}, {"layers": 4}, {"layers": 2, "bidirectional": True}, {"layers": 3, "bidirectional": True}],
    ids=["2", "4", "2-bidirectional", "3-bidirectional"],
)


@pytest.fixture
def make_rnn():
    """Builds small RNNs in evaluation mode: 11 source words and 9 target words unless told otherwise."""

    def make(source_words=11, target_words=9, *, seed=0, **sizes):
        torch.manual_seed(seed)
        return Rnn(source_words, target_words, **{"width": 12, **sizes}).eval()

    return make


def translations(rows):
    return [[k for k in row if k != PAD] for row in rows.tolist()]


@FORMS
def test_scores_have_one_row_a_word(make_rnn, form):
    assert make_rnn(**form)(SOURCE, PREVIOUS).shape == (3, 5, 9)


@FORMS
@pytest.mark.parametrize("cuts", [[1, 1, 1, 1, 1], [2, 3], [4, 1]])
def test_scores_step_by_step_are_those_of_whole_sentences(make_rnn, form, cuts):
    network = make_rnn(**form)
    whole = network(SOURCE, PREVIOUS)
    state = network.encode(SOURCE)
    parts = []
    for words in PREVIOUS.split(cuts, dim=1):
        scores, state = network.step(words, state)
        parts.append(scores)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


@FORMS
def test_padding_changes_no_score(make_rnn, form):
    network = make_rnn(**form)
    together = network(SOURCE, PREVIOUS)
    for row, length in ((0, 4), (1, 2), (2, 3)):
        alone = network(SOURCE[row : row + 1, :length], PREVIOUS[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


@FORMS
def test_padding_changes_no_gradient(make_rnn, form):
    network = make_rnn(**form)
    gradients = []
    for source in (SOURCE[1:2, :2], torch.nn.functional.pad(SOURCE[1:2], (0, 3), value=PAD)):
        network.zero_grad()
        network(source, PREVIOUS[1:2]).logsumexp(dim=-1).sum().backward()
        gradients.append({name: weight.grad.clone() for name, weight in network.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_word_does_not_see_those_after_it(make_rnn):
    network = make_rnn(layers=3)
    changed = PREVIOUS.clone()
    changed[:, 3:] = 8
    torch.testing.assert_close(network(SOURCE, changed)[:, :3], network(SOURCE, PREVIOUS)[:, :3])
    assert not torch.allclose(network(SOURCE, changed)[:, 3], network(SOURCE, PREVIOUS)[:, 3])


@FORMS
def test_every_source_word_counts(make_rnn, form):
    network = make_rnn(**form)
    before = network(SOURCE, PREVIOUS)[0, 0]
    for place in range(3):
        changed = SOURCE.clone()
        changed[0, place] = 10
        assert not torch.allclose(network(changed, PREVIOUS)[0, 0], before)


@pytest.mark.parametrize(("bidirectional", "differs"), [(False, False), (True, True)])
def test_only_a_bidirectional_encoder_sees_the_words_to_come(make_rnn, bidirectional, differs):
    network = make_rnn(bidirectional=bidirectional)
    changed = SOURCE.clone()
    changed[0, 2] = 10
    first, other = network.encode(SOURCE).memory[0, 0], network.encode(changed).memory[0, 0]
    assert torch.allclose(first, other) is not differs


@FORMS
def test_selected_rows_go_on_as_before(make_rnn, form):
    network = make_rnn(**form)
    _, state = network.step(PREVIOUS[:, :2], network.encode(SOURCE))
    rows = torch.tensor([1, 0, 2, 1])
    scores, _ = network.step(PREVIOUS[rows, 2:3], state.select(rows))
    torch.testing.assert_close(scores[:, 0], network(SOURCE, PREVIOUS)[rows, 2])


def test_steps_leave_the_state_they_were_given(make_rnn):
    network = make_rnn()
    state = network.encode(SOURCE)
    first, _ = network.step(PREVIOUS[:, :1], state)
    again, _ = network.step(PREVIOUS[:, :1], state)
    torch.testing.assert_close(first, again, rtol=0, atol=0)


@FORMS
def test_every_weight_learns(make_rnn, form):
    network = make_rnn(**form).train()
    network(SOURCE, PREVIOUS).logsumexp(dim=-1).sum().backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert idle == []


@pytest.mark.parametrize("seed", range(3))
@FORMS
def test_greedy_takes_the_best_word_and_a_beam_of_one_is_greedy(make_rnn, form, seed):
    network = make_rnn(seed=seed, **form)
    limits = torch.tensor([6, 4, 5])
    greedy = translations(greedy_search(network, SOURCE, limits=limits))
    assert translations(beam_search(network, SOURCE, beam=1, limits=limits)) == greedy
    for row, limit, found in zip(SOURCE, limits.tolist(), greedy, strict=True):
        words = []
        while len(words) < limit and words[-1:] != [EOS]:
            scores = network(row[None], torch.tensor([[BOS, *words]]))[0, -1]
            scores[[PAD, BOS]] = float("-inf")
            words.append(int(scores.argmax()))
        assert found == words


def test_a_wide_beam_finds_the_best_of_all_sequences(make_rnn):
    network = make_rnn(target_words=6, layers=3, bidirectional=True)
    limit, words = 3, (3, 4, 5)
    every = [(*row, EOS) for n in range(limit) for row in itertools.product(words, repeat=n)]
    every += itertools.product(words, repeat=limit)
    limits = torch.full((len(SOURCE),), limit)
    found = translations(beam_search(network, SOURCE, beam=60, alpha=0.0, limits=limits))
    for source, best in zip(SOURCE, found, strict=True):
        totals = []
        for row in every:
            scores = network(source[None], torch.tensor([[BOS, *row[:-1]]]))[0]
            scores[:, [PAD, BOS]] = float("-inf")
            totals.append(scores.log_softmax(dim=-1)[range(len(row)), list(row)].sum().item())
        assert tuple(best) == every[totals.index(max(totals))]


@torch.no_grad()
def test_residuals_begin_at_the_third_layer_of_both_stacks(make_rnn):
    """With all LSTMs but the first two silenced, only residual connections let anything through."""
    network = make_rnn(layers=5)
    shallow = make_rnn(layers=2)
    shallow.load_state_dict({name: network.state_dict()[name] for name in shallow.state_dict()})
    for stack in (network.encoder.layers, network.decoder.layers):
        for layer in stack[2:]:
            for weight in layer.parameters():
                weight.zero_()
    torch.testing.assert_close(network(SOURCE, PREVIOUS), shallow(SOURCE, PREVIOUS))
    for weight in network.decoder.layers[1].parameters():
        weight.zero_()
    assert not network(SOURCE, PREVIOUS).any()


@torch.no_grad()
def test_the_context_reaches_every_layer_but_the_first(make_rnn):
    network = make_rnn(layers=4)
    widths = [layer.lstm.input_size for layer in network.decoder.recurrences]
    assert widths == [12, 24, 24, 24]
    state = network.encode(SOURCE)
    other = network.encode(SOURCE.flip(0))
    _, after = network.step(PREVIOUS, state)
    _, changed = network.step(PREVIOUS, other)
    same = [torch.equal(a.hidden, b.hidden) for a, b in zip(after.layers, changed.layers, strict=True)]
    assert same == [True, False, False, False]


def test_turn_reverses_what_counts_and_leaves_the_rest():
    words = torch.arange(10).view(2, 5, 1)
    assert turn(words, torch.tensor([3, 5]))[:, :, 0].tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]


def test_both_directions_are_torchs_own_on_packed_rows():
    torch.manual_seed(0)
    ours = BidirectionalLayer(6, 4, dropout=0.0)
    theirs = torch.nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    state = dict(ours.onward.lstm.state_dict())
    state |= {f"{name}_reverse": weight for name, weight in ours.reverse.lstm.state_dict().items()}
    theirs.load_state_dict(state)
    words, lengths = torch.randn(3, 5, 6), torch.tensor([2, 5, 3])
    packed = torch.nn.utils.rnn.pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    found = ours(words, lengths)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length])


def test_attention_is_the_published_formula():
    torch.manual_seed(0)
    attention = NormalizedAttention(4, 5, 3)
    torch.nn.init.normal_(attention.key.bias)
    queries, memory = torch.randn(2, 3, 4), torch.randn(2, 6, 5)
    visible = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    found = attention(queries, attention.project(memory), memory, visible)
    weights = attention.weigh(queries, attention.project(memory), visible)
    v = attention.length * attention.direction / attention.direction.square().sum().sqrt()
    for row, n in itertools.product(range(2), range(3)):
        energies = torch.stack(
            [
                v @ torch.tanh(attention.query.weight @ queries[row, n] + attention.key.weight @ m + attention.key.bias)
                for m in memory[row, visible[row]]
            ]
        )
        expected = energies.softmax(dim=0) @ memory[row, visible[row]]
        torch.testing.assert_close(found[row, n], expected)
    assert not weights[1, :, 2:].any()
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3))


def test_the_length_of_the_scoring_vector_stands_apart_from_its_direction():
    torch.manual_seed(0)
    attention = NormalizedAttention(4, 4, 4)
    queries, memory, visible = torch.randn(1, 2, 4), torch.randn(1, 3, 4), torch.ones(1, 3, dtype=torch.bool)
    before = attention(queries, attention.project(memory), memory, visible)
    with torch.no_grad():
        attention.direction.mul_(3.0)
    torch.testing.assert_close(attention(queries, attention.project(memory), memory, visible), before)


@pytest.mark.parametrize("length", [1, 3])
def test_a_layer_puts_out_rows_in_their_order_in_memory(length):
    layer, words = LstmLayer(4, 6, dropout=0.0), torch.randn(5, length, 4)
    out, after = layer(words, layer.start(words))
    assert out.stride() == (6 * length, 6, 1)
    torch.testing.assert_close(out[:, -1], after.hidden, rtol=0, atol=0)


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    layer, words = LstmLayer(4, 4, dropout=0.5), torch.randn(2, 3, 4)
    start = layer.start(words)
    assert not torch.equal(layer(words, start)[0], layer(words, start)[0])
    layer.eval()
    assert torch.equal(layer(words, start)[0], layer(words, start)[0])


def test_weights_begin_as_stated():
    torch.manual_seed(0)
    network = Rnn(50, 40, width=40, layers=3, bidirectional=True)
    for name, weight in network.named_parameters():
        if weight.dim() == 2:
            assert 0.49 < weight.abs().max() <= 0.5, name
        if "lstm.bias_ih" in name:
            assert weight.tolist() == [0.0] * 40 + [1.0] * 40 + [0.0] * 80
        if "bias_hh" in name or "key.bias" in name:
            assert not weight.any()
    assert not network.source_embedding.weight[PAD].any()
    assert not network.target_embedding.weight[PAD].any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_weights_have_the_papers_classes(make_rnn, bidirectional):
    network = make_rnn(layers=4, bidirectional=bidirectional)
    classes = classify(network.state_dict(), module=network)
    stacks = {f"{stack}.{k}" for stack in ("encoder", "decoder") for k in range(4)}
    assert set(classes.values()) == stacks | {"source_embedding", "target_embedding", "softmax"}
    assert {value for name, value in classes.items() if "attention" in name} == {"decoder.0"}
    assert classes == classify(network.state_dict())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layers": 1}, "layers is 1: expected 2 or more"),
        ({"layers": 0}, "layers is 0"),
        ({"width": 0}, "width is 0"),
        ({"source_words": 0}, "source_words is 0"),
        ({"target_words": -3}, "target_words is -3"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
    ],
)
def test_wrong_sizes_are_named(make_rnn, sizes, message):
    with pytest.raises(ValueError, match=message):
        make_rnn(**sizes)


def test_a_foreign_state_is_refused(make_rnn, make_transformer):
    with pytest.raises(TypeError, match="state is a TransformerState: pass the RnnState"):
        make_rnn().step(PREVIOUS, make_transformer().encode(SOURCE))
