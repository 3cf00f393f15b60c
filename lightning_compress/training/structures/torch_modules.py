"""Structures of torch's own modules: attention, Transformer layers, LSTM."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from lightning_compress.training.structures.registry import ResidualLayer, describes, register_layers
from lightning_compress.training.structures.smaller_attention import SmallerAttention
from lightning_compress.training.structures.smaller_lstm import SmallerLSTM
from lightning_compress.training.structures.structure import Slices, Structure, feed_forward, rows

_GATES = 4  # of an LSTM: input, forget, cell, output


def inside(name: str, part: str) -> str:
    """The name of a part of a module; that of the part alone for a module without name."""
    return f"{name}.{part}" if name else part


@describes(nn.MultiheadAttention, SmallerAttention)
def attention(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of ``nn.MultiheadAttention``; those with a learned or zero key beside the given ones cannot be cut."""
    assert isinstance(module, (nn.MultiheadAttention, SmallerAttention))
    heads, width = module.num_heads, module.out_proj.in_features
    size = width // heads
    each, packed = rows(heads, size), rows(heads, size, strides=(0, width, 2 * width))
    if module._parameters["in_proj_weight"] is not None:
        slices = [Slices(module, "in_proj_weight", 0, packed)]
    else:
        slices = [Slices(module, f"{part}_proj_weight", 0, each) for part in "qkv"]
    if module._parameters["in_proj_bias"] is not None:
        slices.append(Slices(module, "in_proj_bias", 0, packed))
    slices.append(Slices(module.out_proj, "weight", 1, each, reads=True))
    has_extra_keys = isinstance(module, nn.MultiheadAttention) and (module.bias_k is not None or module.add_zero_attn)
    is_known = type(module) in (nn.MultiheadAttention, SmallerAttention)  # whose way to compute is not overridden
    can_go = is_known and not has_extra_keys

    def finish(left: int) -> None:
        module.num_heads = left

    replaced = module if isinstance(module, nn.MultiheadAttention) else None
    yield Structure(
        name,
        "head",
        heads,
        tuple(slices),
        is_removable=can_go,
        finish=finish,
        replaced=replaced,
    )


@describes(nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
def transformer_layer(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of the feed-forward part; the attentions inside are described by themselves."""
    assert isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer))
    yield feed_forward(inside(name, "linear1"), [module.linear1], module.linear2)


@describes(nn.LSTM)
def lstm(module: nn.Module, name: str) -> Iterator[Structure]:
    """The hidden units of each layer and direction; an LSTM with projections has none that can go."""
    assert isinstance(module, nn.LSTM)
    if module.proj_size:
        return
    for layer in range(module.num_layers):
        for reverse in range(1 + module.bidirectional):
            part = f"l{layer}{'_reverse' * reverse}"
            readers = [
                (module, f"weight_ih_l{layer + 1}{suffix}")
                for suffix in ("", "_reverse")[: 1 + module.bidirectional]
                if layer + 1 < module.num_layers
            ]
            columns = rows(module.hidden_size, start=reverse * module.hidden_size)
            slices = (*lstm_units(module, part), *(Slices(reader, name, 1, columns) for reader, name in readers))
            is_known = type(module) is nn.LSTM  # whose way to compute is not overridden
            yield Structure(
                inside(name, part), "neuron", module.hidden_size, slices, is_removable=is_known, replaced=module
            )


@describes(SmallerLSTM)
def smaller_lstm(module: nn.Module, name: str) -> Iterator[Structure]:
    """The hidden units of each layer and direction."""
    assert isinstance(module, SmallerLSTM)
    layers = module.lstms
    for index, layer in enumerate(layers):
        for suffix in ("", "_reverse")[: 1 + module.bidirectional]:
            readers = [
                (above, f"weight_ih_l0{other}")
                for above in layers[index + 1 : index + 2]
                for other in ("", "_reverse")[: 1 + module.bidirectional]
            ]
            columns = rows(layer.hidden_size, start=bool(suffix) * layer.hidden_size)
            read = [Slices(reader, name_, 1, columns) for reader, name_ in readers]
            positions = Slices(module, f"units_l{index}{suffix}", 0, rows(layer.hidden_size), is_buffer=True)
            part = inside(name, f"l{index}{suffix}")
            balanced = inside(name, f"l{index}")
            slices = (*lstm_units(layer, f"l0{suffix}"), *read, positions)
            yield Structure(part, "neuron", layer.hidden_size, slices, balanced=balanced)


def lstm_units(layer: nn.LSTM, part: str = "l0") -> list[Slices]:
    """The gates and the recurrence of the hidden units of an LSTM's layer; what reads them is added by the caller.

    Args:
        layer: the LSTM, without projections.
        part: the layer and direction, as in the names of its parameters.
    """
    units = layer.hidden_size
    gates = rows(units, strides=[units * gate for gate in range(_GATES)])
    slices = [Slices(layer, f"weight_ih_{part}", 0, gates), Slices(layer, f"weight_hh_{part}", 0, gates)]
    if layer.bias:
        slices += [Slices(layer, f"bias_{kind}_{part}", 0, gates) for kind in ("ih", "hh")]
    return [*slices, Slices(layer, f"weight_hh_{part}", 1, rows(units))]


def _is_pre_norm(layer: nn.Module) -> bool:
    return bool(getattr(layer, "norm_first", False))


register_layers(ResidualLayer(_is_pre_norm), nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
