"""Structures between layers that follow each other: neurons of linear layers and channels of convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from lightning_compress.training.structures.registry import describes
from lightning_compress.training.structures.structure import Slices, Structure, rows

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Each output depends on one channel of the input alone.
_BY_CHANNEL = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid,
    nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softplus, nn.Identity,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip


def chain(name: str, modules: Iterable[tuple[str, nn.Module]]) -> Iterator[Structure]:
    """The structures of modules that compute one after the other, and whose results nothing else reads.

    A linear layer or convolution without groups makes the units, batch norms scale them, the next linear layer or
    convolution reads them; between them are modules that treat each channel by itself, and at most one flattening. Any
    other module ends the chain, and a new one begins behind it.

    Args:
        name: of the module around them.
        modules: name and module, in order.
    """
    maker: tuple[str, nn.Module] | None = None
    norms: list[nn.Module] = []
    for part, module in modules:
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
            if maker is not None and _reads(module, maker[1]):
                label = f"{name}.{maker[0]}" if name else maker[0]
                yield _units(label, maker[1], norms, module)
            maker = (part, module) if getattr(module, "groups", 1) == 1 else None
            norms = []
        elif isinstance(module, _NORMS):
            norms.append(module)
        elif not isinstance(module, (nn.Flatten, *_BY_CHANNEL)):
            maker = None


@describes(nn.Sequential)
def sequential(module: nn.Module, name: str) -> Iterator[Structure]:
    """The structures of a sequence, and of sequences inside it; of none that computes in a way of its own."""
    if _is_plain(module):
        yield from chain(name, _flat(module, ""))


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _flat(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for part, child in module.named_children():
        if _is_plain(child):
            yield from _flat(child, f"{prefix}{part}.")
        else:
            yield f"{prefix}{part}", child


def _made(module: nn.Module) -> int:
    found = module.out_features if isinstance(module, nn.Linear) else module.out_channels
    assert isinstance(found, int)
    return found


def _reads(reader: nn.Module, maker: nn.Module) -> bool:
    """Whether the columns of the reader are those of the maker's units, or as many for each of them."""
    if isinstance(reader, nn.Linear):
        same = reader.in_features == _made(maker)
        return same or (isinstance(maker, _CONVOLUTIONS) and reader.in_features % _made(maker) == 0)
    return isinstance(maker, _CONVOLUTIONS) and bool(reader.in_channels == _made(maker) and reader.groups == 1)


def _units(name: str, maker: nn.Module, norms: Sequence[nn.Module], reader: nn.Module) -> Structure:
    units = _made(maker)
    positions = rows(units)
    slices = [Slices(maker, "weight", 0, positions)]
    if maker.bias is not None:
        slices.append(Slices(maker, "bias", 0, positions))
    for norm in norms:
        names = [each for each in ("weight", "bias") if norm._parameters[each] is not None]
        slices += [Slices(norm, each, 0, positions) for each in names]
        tables = [each for each in ("running_mean", "running_var") if norm._buffers[each] is not None]
        slices += [Slices(norm, each, 0, positions, is_buffer=True) for each in tables]
    reads = reader.in_features if isinstance(reader, nn.Linear) else reader.in_channels
    assert isinstance(reads, int)
    slices.append(Slices(reader, "weight", 1, rows(units, reads // units), reads=True))
    return Structure(name, "neuron" if isinstance(maker, nn.Linear) else "channel", units, tuple(slices))
