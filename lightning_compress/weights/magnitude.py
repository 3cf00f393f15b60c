"""Finds the k smallest magnitudes of many tensors exactly, without sorting or concatenating them.

The bits of a float without its sign, read as an integer, have the order of its magnitude. The k-th smallest magnitude
is therefore found by radix selection: a histogram of the high 16 bits, then one of the next 16 bits within the selected
bin (four histograms for float64). Each pass reads the weights once, where they are; memory is one chunk and one
histogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.runtime.compiler import has_compiler_for, read_only

_CHUNK = 1 << 18
_DEVICE_CHUNK = 1 << 24  # weights; an operation of an accelerator should have much to do, in little of its memory
_DIGIT = 16
SIGNED_WORDS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by their bytes


@dataclass(frozen=True)
class Cut:
    """The smallest weights of a group: those with a key below ``key``, and the first ``ties`` of those equal to it.

    Attributes:
        key: the threshold, a magnitude key (see :func:`magnitude_keys`).
        ties: how many of the weights exactly at the threshold belong to the cut, in the group's order.
        double: whether keys are of float64 magnitudes.
    """

    key: int
    ties: int = 0
    double: bool = False

    @property
    def magnitude(self) -> float:
        """The threshold as a magnitude |w|."""
        bits = torch.tensor(self.key, dtype=torch.int64 if self.double else torch.int32)
        return float(bits.view(torch.float64 if self.double else torch.float32))

    def split(self, weights: Tensor) -> tuple[Tensor, Cut]:
        """Which of these weights belong to the cut (``[n]``, bool), and the cut for the group's next weights."""
        if not self.double and weights.device.type == "cpu" and has_compiler_for(len(weights)):
            from lightning_compress.weights.magnitude_loops import mark_smallest

            chosen = torch.empty(len(weights), dtype=torch.bool)
            left = mark_smallest(_words(weights), self.key, self.ties, chosen.numpy())
            return chosen, self if left == self.ties else replace(self, ties=left)
        keys = magnitude_keys(weights, self.double)
        chosen = keys < self.key
        if not self.ties:
            return chosen, self
        at_border = true_positions(keys == self.key)[: self.ties]
        chosen[at_border] = True
        return chosen, replace(self, ties=self.ties - len(at_border))


def magnitude_keys(weights: Tensor, double: bool = False) -> Tensor:
    """Integers with the same order as |w|: the bits of the float32 (or float64) value without its sign.

    Exact for every float type up to the chosen width. Infinity comes after all finite values, NaN last.
    """
    if double:
        return weights.double().view(torch.int64) & 0x7FFF_FFFF_FFFF_FFFF
    return weights.float().view(torch.int32) & 0x7FFF_FFFF


def key_of(magnitude: float, double: bool = False) -> int:
    """The magnitude key of one non-negative number, rounded up to the width of the keys."""
    kind = torch.float64 if double else torch.float32
    value = torch.tensor(magnitude, dtype=kind)
    if float(value) < magnitude:
        value = torch.nextafter(value, torch.tensor(float("inf"), dtype=kind))
    return int(magnitude_keys(value.reshape(1), double))


def needs_double(tensors: Sequence[Tensor]) -> bool:
    """Whether float32 keys would merge distinct magnitudes of these tensors."""
    return any(tensor.dtype == torch.float64 for tensor in tensors)


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """The values of a tensor in order, in flat chunks that fit in the cache."""
    for chunk in torch.split(tensor.detach().reshape(-1), _CHUNK):
        yield chunk.cpu()


def zeroed(weights: Tensor, chosen: Tensor) -> Tensor:
    """``[n]`` floats with 0 where ``chosen`` is true; by their bits, which takes a fifth of the time of a selection."""
    bits = weights.view(SIGNED_WORDS[weights.itemsize])
    return (bits & (chosen.to(bits.dtype) - 1)).view(weights.dtype)


def smallest_magnitudes(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[Cut]:
    """For each count, the cut that selects exactly that many of the smallest magnitudes.

    Of equal magnitudes at the threshold, the first are selected, in the order of the tensors and of their elements.
    Only finite values are selected: a larger count selects all of them. A cut that is not empty has at least one tie.
    All counts share each pass.

    Args:
        tensors: floating-point tensors of any shape.
        counts: how many weights to select, each from 0 to the number of weights.
    """
    double = needs_double(tensors)
    shifts = range(64 - _DIGIT, -1, -_DIGIT) if double else range(32 - _DIGIT, -1, -_DIGIT)
    prefixes, remaining = [0] * len(counts), list(counts)
    for level, shift in enumerate(shifts):
        histograms = _histograms(tensors, set(prefixes), shift, double)
        if level == 0:
            infinity = key_of(float("inf"), double) >> shift
            finite = int(histograms[0][:infinity].sum())
            counts = [min(count, finite) for count in counts]
            remaining = list(counts)
        for i, prefix in enumerate(prefixes):
            cumulative = histograms[prefix].cumsum(0)
            digit = int(torch.searchsorted(cumulative, max(remaining[i], 1)))
            remaining[i] -= int(cumulative[digit - 1]) if digit else 0
            prefixes[i] = (prefix << _DIGIT) | min(digit, (1 << _DIGIT) - 1)
    return [
        Cut(0, 0, double) if count == 0 else Cut(key, ties, double)
        for key, ties, count in zip(prefixes, remaining, counts, strict=True)
    ]


def _histograms(tensors: Sequence[Tensor], prefixes: set[int], shift: int, double: bool) -> dict[int, Tensor]:
    """For each prefix, how often each 16-bit digit follows it in the keys."""
    bins = 1 << _DIGIT
    result = {prefix: torch.zeros(bins, dtype=torch.int64) for prefix in prefixes}
    is_first = shift + _DIGIT == (64 if double else 32)
    is_compiled = not double and has_compiler_for(sum(tensor.numel() for tensor in tensors))
    for tensor in tensors:
        for chunk in _where_they_are(tensor):
            if is_compiled and chunk.device.type == "cpu":
                from lightning_compress.weights.magnitude_loops import count_digits

                words = _words(chunk)
                for prefix in prefixes:
                    count_digits(words, prefix, shift, _DIGIT, result[prefix].numpy())
                continue
            digits = magnitude_keys(chunk, double) >> shift
            if is_first:
                result[0] += _counts(digits)
                continue
            heads = digits >> _DIGIT
            for prefix in prefixes:
                is_inside = heads == prefix
                inside = digits[true_positions(is_inside) if is_inside.device.type == "cpu" else is_inside]
                if len(inside):
                    result[prefix] += _counts(inside & (bins - 1))
    return result


def _where_they_are(tensor: Tensor) -> Iterator[Tensor]:
    """As :func:`chunks`, but on the tensor's own device: of an accelerator, only counts are copied to the host."""
    if tensor.device.type == "cpu":
        yield from chunks(tensor)
    else:
        yield from torch.split(tensor.detach().reshape(-1), _DEVICE_CHUNK)


def _words(weights: Tensor) -> NDArray[np.uint32]:
    """``[n]``: the words of float32 values, read only."""
    return read_only(weights.detach().float().contiguous().numpy().view(np.uint32))


def _counts(digits: Tensor) -> Tensor:
    """How often each 16-bit digit occurs, ``[65536]`` int64 on the CPU; whole numbers, so equal on every device."""
    return torch.bincount(digits, minlength=1 << _DIGIT).cpu()


def true_positions(mask: Tensor) -> Tensor:
    """Indices where a flat CPU mask is true; for sparse masks several times faster than ``nonzero``."""
    return torch.from_numpy(np.flatnonzero(mask.numpy()))
