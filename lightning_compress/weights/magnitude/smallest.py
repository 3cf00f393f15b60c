"""Finds the k smallest magnitudes of many tensors exactly, without sorting all of many weights.

The keys of few weights are partitioned. Of many, a bracket that a sample gives is searched first (``brackets.py``).
What it does not find is found by digits: the bits of a float without its sign, read as an integer, have the order of
its magnitude. The k-th smallest magnitude is therefore found by radix selection: a histogram of the high 16 bits, then
one of the next 16 bits within the selected bin (four histograms for float64). Each pass reads the weights once, where
they are; each thread has one chunk and one histogram in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_compress.weights.magnitude.brackets import cut_by_bracket
from lightning_compress.weights.magnitude.cut import Cut
from lightning_compress.weights.magnitude.keys import compiled_words, key_of, magnitude_keys, needs_double
from lightning_compress.weights.values.flat_values import chunks, true_positions
from lightning_compress.weights.workers import in_batches

_FEW = 1 << 16  # weights, up to which all keys are partitioned
_DEVICE_CHUNK = 1 << 24  # weights; an operation of an accelerator should have much to do, in little of its memory
_DIGIT = 16
Histograms = dict[int, Tensor]  # prefix → how often each digit follows it


def smallest_magnitudes(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[Cut]:
    """For each count, the cut that selects exactly that many of the smallest magnitudes.

    Of equal magnitudes at the threshold, the first are selected, in the order of the tensors and of their elements.
    Only finite values are selected: a larger count selects all of them. A cut that is not empty has at least one tie.

    Args:
        tensors: floating-point tensors of any shape.
        counts: how many weights to select, each from 0 to the number of weights.
    """
    in_memory = all(tensor.device.type == "cpu" for tensor in tensors)
    if in_memory and sum(tensor.numel() for tensor in tensors) <= _FEW:
        return _cuts_by_partition(tensors, counts)
    found = [cut_by_bracket(tensors, count) for count in counts]
    left = [count for count, cut in zip(counts, found, strict=True) if cut is None]
    by_digits = iter(cuts_by_digits(tensors, left) if left else ())
    return [cut or next(by_digits) for cut in found]


def _cuts_by_partition(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[Cut]:
    """As :func:`smallest_magnitudes`, with the keys of all tensors in memory."""
    double = needs_double(tensors)
    parts = [magnitude_keys(tensor.detach().reshape(-1), double) for tensor in tensors]
    keys = torch.cat(parts).numpy() if parts else np.zeros(0, np.int64)
    keys = keys[keys < key_of(math.inf, double)]
    cuts = []
    for wanted in counts:
        count = min(wanted, len(keys))
        key = int(np.partition(keys, count - 1)[count - 1]) if count else 0
        cuts.append(Cut(key, count - int((keys < key).sum()) if count else 0, double))
    return cuts


def cuts_by_digits(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[Cut]:
    """As :func:`smallest_magnitudes`; the counts share each pass."""
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


def _histograms(tensors: Sequence[Tensor], prefixes: set[int], shift: int, double: bool) -> Histograms:
    """For each prefix, how often each 16-bit digit follows it in the keys of all tensors."""
    elements = sum(tensor.numel() for tensor in tensors)

    def of_some(tensors: Sequence[Tensor]) -> Histograms:
        result = _empty(prefixes)
        for tensor in tensors:
            for chunk in _where_they_are(tensor):
                _count(chunk, shift, double, elements, result)
        return result

    result = _empty(prefixes)
    for counted in in_batches(of_some, tensors):
        for prefix, histogram in counted.items():
            result[prefix] += histogram
    return result


def _count(chunk: Tensor, shift: int, double: bool, elements: int, result: Histograms) -> None:
    """Add the digits of a chunk to the histograms; loops are compiled where all chunks have so many elements."""
    words = compiled_words(chunk, double, elements)
    if words is not None:
        from lightning_compress.weights.magnitude.loops import count_digits

        for prefix, histogram in result.items():
            count_digits(words, prefix, shift, _DIGIT, histogram.numpy())
        return
    digits = magnitude_keys(chunk, double) >> shift
    if shift + _DIGIT == (64 if double else 32):
        result[0] += _counts(digits)
        return
    heads = digits >> _DIGIT
    for prefix, histogram in result.items():
        is_inside = heads == prefix
        inside = digits[true_positions(is_inside) if is_inside.device.type == "cpu" else is_inside]
        if len(inside):
            histogram += _counts(inside & ((1 << _DIGIT) - 1))


def _empty(prefixes: set[int]) -> Histograms:
    return {prefix: torch.zeros(1 << _DIGIT, dtype=torch.int64) for prefix in prefixes}


def _where_they_are(tensor: Tensor) -> Iterator[Tensor]:
    """As :func:`chunks`, but on the tensor's own device: of an accelerator, only counts are copied to the host."""
    if tensor.device.type == "cpu":
        yield from chunks(tensor)
    else:
        yield from torch.split(tensor.detach().reshape(-1), _DEVICE_CHUNK)


def _counts(digits: Tensor) -> Tensor:
    """How often each 16-bit digit occurs, ``[65536]`` int64 on the CPU; whole numbers, so equal on every device."""
    return torch.bincount(digits, minlength=1 << _DIGIT).cpu()
