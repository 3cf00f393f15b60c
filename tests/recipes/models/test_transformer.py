"""Cases: shapes, cache, padding, causality, the paper's size, gradients, and each wrong size."""

import pytest
import torch

from lightning_compress import Half, Plan, Raw, Rule, compress
from recipes.data.vocabulary import BOS, EOS, PAD
from recipes.models.attention import MultiHeadAttention, causal_mask
from recipes.models.positions import sinusoids
from recipes.models.transformer import Transformer

SOURCE = torch.tensor([[5, 6, 7, EOS], [8, EOS, PAD, PAD]])
PREVIOUS = torch.tensor([[BOS, 4, 5, 6, 7], [BOS, 8, 4, 4, 5]])
NORMS = pytest.mark.parametrize("norm", ["pre", "post"])


@NORMS
def test_scores_have_one_row_a_word(make_transformer, norm):
    assert make_transformer(norm=norm)(SOURCE, PREVIOUS).shape == (2, 5, 9)


@NORMS
@pytest.mark.parametrize("cuts", [[1, 1, 1, 1, 1], [2, 3], [4, 1], [1, 3, 1]])
def test_scores_with_the_cache_are_those_without(make_transformer, norm, cuts):
    network = make_transformer(norm=norm)
    whole = network(SOURCE, PREVIOUS)
    state = network.encode(SOURCE)
    parts = []
    for words in PREVIOUS.split(cuts, dim=1):
        scores, state = network.step(words, state)
        parts.append(scores)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert state.seen == 5


@NORMS
def test_padding_changes_no_score(make_transformer, norm):
    network = make_transformer(norm=norm)
    alone = network(SOURCE[1:, :2], PREVIOUS[1:])
    torch.testing.assert_close(network(SOURCE, PREVIOUS)[1:], alone)


def test_a_word_does_not_see_those_after_it(make_transformer):
    network = make_transformer()
    changed = PREVIOUS.clone()
    changed[:, 3:] = 8
    torch.testing.assert_close(network(SOURCE, changed)[:, :3], network(SOURCE, PREVIOUS)[:, :3])
    assert not torch.allclose(network(SOURCE, changed)[:, 3], network(SOURCE, PREVIOUS)[:, 3])


def test_every_source_word_counts(make_transformer):
    network = make_transformer()
    changed = SOURCE.clone()
    changed[0, 2] = 9
    assert not torch.allclose(network(changed, PREVIOUS)[0, 0], network(SOURCE, PREVIOUS)[0, 0])


def test_selected_rows_go_on_as_before(make_transformer):
    network = make_transformer()
    _, state = network.step(PREVIOUS[:, :2], network.encode(SOURCE))
    rows = torch.tensor([1, 0, 1])
    scores, _ = network.step(PREVIOUS[rows, 2:3], state.select(rows))
    torch.testing.assert_close(scores[:, 0], network(SOURCE, PREVIOUS)[rows, 2])


def test_steps_leave_the_state_they_were_given(make_transformer):
    network = make_transformer()
    state = network.encode(SOURCE)
    first, _ = network.step(PREVIOUS[:, :1], state)
    again, _ = network.step(PREVIOUS[:, :1], state)
    assert state.seen == 0
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_every_weight_learns(make_transformer):
    network = make_transformer(norm="pre").train()
    network(SOURCE, PREVIOUS).logsumexp(dim=-1).sum().backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert idle == []


def test_the_paper_has_90_million_weights_in_three_separate_tables():
    with torch.device("meta"):
        network = Transformer(30_000, 30_000)
    total = sum(weight.numel() for weight in network.parameters())
    tables = [network.source_embedding, network.target_embedding, network.softmax]
    assert 88e6 < total < 92e6
    assert len({id(table.weight) for table in tables}) == 3
    assert [tuple(table.weight.shape) for table in tables] == [(30_000, 512)] * 3


def test_attention_is_torchs_own(make_transformer):
    torch.manual_seed(0)
    ours = MultiHeadAttention(12, 3)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    hidden, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 12)
    visible = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    expected, _ = theirs(hidden, memory, memory, key_padding_mask=~visible)
    found = ours(hidden, *ours.project(memory), visible[:, None, None, :])
    torch.testing.assert_close(found, expected)


def test_causal_mask_after_words_that_were_seen():
    mask = causal_mask(2, 3, torch.device("cpu"))
    assert mask.tolist() == [[True, True, True, True, False], [True, True, True, True, True]]


def test_positions_go_on_where_they_stopped():
    device = torch.device("cpu")
    torch.testing.assert_close(sinusoids(3, 4, 8, device), sinusoids(0, 7, 8, device)[3:])
    torch.testing.assert_close(sinusoids(0, 1, 4, device), torch.tensor([[0.0, 1.0, 0.0, 1.0]]))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"width": 15, "heads": 3}, "width 15 is odd"),
        ({"heads": 3}, "width 16 is not a multiple of heads 3"),
        ({"encoder_layers": 0}, "encoder_layers is 0"),
        ({"feed_forward": -1}, "feed_forward is -1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"attention_dropout": -0.1}, "attention_dropout is -0.1"),
        ({"embedding_width": 0}, "embedding_width is 0"),
        ({"embedding_width": 16}, "embedding_width is 16: expected less than width, 16"),
        ({"norm": "batch"}, "norm is 'batch': expected 'pre' or 'post'"),
    ],
)
def test_wrong_sizes_are_named(make_transformer, sizes, message):
    with pytest.raises(ValueError, match=message):
        make_transformer(**sizes)


def test_a_foreign_state_is_refused(make_transformer):
    with pytest.raises(TypeError, match="state is a tuple"):
        make_transformer().step(PREVIOUS, (1, 2))


def test_shared_layers_are_stored_once(make_transformer):
    """Lan et al. 2020, "ALBERT", section 3.1: three shared layers take the bytes of one."""
    plan = Plan(Rule("*", Half()))
    one, three, shared = (
        compress(make_transformer(encoder_layers=layers, decoder_layers=layers, share_layers=layers == 4), plan)
        for layers in (1, 3, 4)
    )
    assert shared.nbytes - one.nbytes < 0.1 * (three.nbytes - one.nbytes)
    network = make_transformer(encoder_layers=4, decoder_layers=4, share_layers=True)
    assert network.encoder.layers[0] is network.encoder.layers[3]
    other = make_transformer(seed=1, encoder_layers=4, decoder_layers=4, share_layers=True)
    other.load_state_dict(compress(network, Plan(Rule("*", Raw()))).restore())
    assert torch.equal(other(SOURCE, PREVIOUS), network(SOURCE, PREVIOUS))


def test_narrow_tables_take_fewer_weights_and_have_the_same_spread(make_transformer):
    """Lan et al. 2020, "ALBERT", section 3.1: words · e + e · width in place of words · width."""
    sizes = {"source_words": 400, "target_words": 300, "width": 64}
    wide, narrow = make_transformer(**sizes), make_transformer(**sizes, embedding_width=8)
    counts = [sum(each.numel() for each in network.parameters()) for network in (wide, narrow)]
    assert counts[0] - counts[1] == (400 + 2 * 300) * 64 - (400 + 2 * 300 + 3 * 64) * 8
    assert narrow(SOURCE, PREVIOUS).shape == (2, 5, 300)
    spreads = [each.source_embedding.weight[4:].std().item() for each in (wide, narrow)]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.15)
    assert not narrow.source_embedding.weight[PAD].any()
