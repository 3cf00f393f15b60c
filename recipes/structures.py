"""Which heads, neurons and layers of the recipes' networks can go: their descriptions for pruning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from lightning_compress.training import (
    ResidualLayer,
    Slices,
    Structure,
    attention_heads,
    describes,
    factorize_to,
    feed_forward,
    linear_columns,
    linear_rows,
    lstm_units,
    register_layers,
    rows,
    shrink_to,
)
from recipes.models.attention import MultiHeadAttention
from recipes.models.bahdanau import NormalizedAttention
from recipes.models.lstm import BidirectionalLayer, LstmLayer
from recipes.models.rnn import Decoder, Encoder, Rnn
from recipes.models.transformer_layers import DecoderLayer, EncoderLayer, FeedForward


def take_sizes(module: nn.Module, checkpoint: Mapping[str, Any]) -> None:
    """Give a module the sizes of the weights of a checkpoint, which may have been shrunk or factorized."""
    state = checkpoint.get("state_dict", {})
    shrink_to(module, state)
    factorize_to(module, state)


@describes(MultiHeadAttention)
def heads(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of an attention."""
    assert isinstance(module, MultiHeadAttention)

    def finish(left: int) -> None:
        module.heads = left

    projections = {"query": module.query, "key": module.key, "value": module.value}
    yield attention_heads(name, module.heads, projections, module.output, finish=finish)


@describes(FeedForward)
def neurons(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of a feed-forward sublayer."""
    assert isinstance(module, FeedForward)
    yield feed_forward(name, [module.inner], module.output)


@describes(NormalizedAttention)
def energies(module: nn.Module, name: str) -> Iterator[Structure]:
    """The energies of additive attention; each is read through one element of the scoring vector."""
    assert isinstance(module, NormalizedAttention)
    width = len(module.direction)
    positions = rows(width)
    slices = [*linear_rows(module.query, positions), *linear_rows(module.key, positions)]
    yield Structure(name, "neuron", width, (*slices, Slices(module, "direction", 0, positions, reads=True)))


@describes(Rnn)
def hidden_units(module: nn.Module, name: str) -> Iterator[Structure]:
    """The hidden units of the layers; those from the second layer on share theirs, if they add what they read."""
    assert isinstance(module, Rnn)
    yield from _encoder(module.encoder, module.decoder, f"{name}.encoder".lstrip("."))
    yield from _decoder(module.decoder, module.softmax, f"{name}.decoder".lstrip("."))


def _encoder(encoder: Encoder, decoder: Decoder, name: str) -> Iterator[Structure]:
    first, *others = encoder.layers
    stack = [layer.lstm for layer in others if isinstance(layer, LstmLayer)]
    directions = [first.onward, first.reverse] if isinstance(first, BidirectionalLayer) else [first]
    for order, layer in enumerate(directions):
        assert isinstance(layer, LstmLayer)
        width = layer.lstm.hidden_size
        offset = sum(each.lstm.hidden_size for each in directions[:order] if isinstance(each, LstmLayer))
        read = Slices(stack[0], "weight_ih_l0", 1, rows(width, start=offset))
        yield Structure(f"{name}.{order}", "neuron", width, (*lstm_units(layer.lstm), read))
    width = stack[-1].hidden_size
    context = [
        Slices(layer.lstm, "weight_ih_l0", 1, rows(width, start=layer.lstm.input_size - width))
        for layer in decoder.recurrences[1:]
    ]
    read_by = [*linear_columns(decoder.attention.key, rows(width)), *context]
    yield _stacked(f"{name}.top", stack, read_by)


def _decoder(decoder: Decoder, softmax: nn.Linear, name: str) -> Iterator[Structure]:
    first, *others = (layer.lstm for layer in decoder.recurrences)
    units = rows(first.hidden_size)
    read_by = [*linear_columns(decoder.attention.query, units), Slices(others[0], "weight_ih_l0", 1, units)]
    yield Structure(f"{name}.0", "neuron", first.hidden_size, (*lstm_units(first), *map(_made, read_by)))
    yield _stacked(f"{name}.top", others, linear_columns(softmax, rows(others[-1].hidden_size)))


def _stacked(name: str, stack: Sequence[nn.LSTM], read_by: Sequence[Slices]) -> Structure:
    """Hidden units that layers share, since each adds what it reads from the layer below."""
    width = stack[-1].hidden_size
    made = [each for layer in stack for each in lstm_units(layer)]
    inner = [Slices(layer, "weight_ih_l0", 1, rows(width)) for layer in stack[1:]]
    return Structure(name, "neuron", width, (*made, *inner, *map(_made, read_by)))


def _made(slices: Slices) -> Slices:
    """Slices that do not decide alone whether a unit has an effect: others read it too."""
    return Slices(slices.owner, slices.attribute, slices.dim, slices.positions)


def _is_pre_norm(layer: nn.Module) -> bool:
    assert isinstance(layer, (EncoderLayer, DecoderLayer))
    return layer.attention_sublayer.pre


register_layers(ResidualLayer(_is_pre_norm), EncoderLayer, DecoderLayer)
