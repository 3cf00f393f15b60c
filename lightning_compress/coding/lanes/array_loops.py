"""Codes symbols with range ANS in interleaved lanes, without a compiler: as many symbols at once as there are lanes.

The functions and their results are those of :mod:`lightning_compress.coding.lanes.compiled_loops`, where they are
explained.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lightning_compress.coding.lanes.types import Code, Counts, Slots, States, Symbols
from lightning_compress.coding.models.adaptive import block_ends
from lightning_compress.coding.models.generalized_gaussian import COUNT

LEAST_STATE = 1 << 16
MOST_WEIGHT = 1 << 31
_WORD = 16
_FEW = 4  # lanes; so few are decoded one symbol at a time


def divide_slots(weights: Counts, precision: int) -> Slots:
    """Divide 2^precision slots among symbols in proportion to their weights.

    A weight of less than two slots gets one, so that a symbol that may occur can be coded; the others share what is
    left. Weights are first shifted until their sum has 31 bits, so that no product has more than 53.

    Args:
        weights: ``[…, symbols]``, not negative, at least one positive; at most 2^(precision − 2) symbols.
        precision: base-2 logarithm of the number of slots, at most 15.

    Returns:
        ``[…, symbols + 1]``: where the slots of each symbol begin, and the end of the last. Symbols of weight 0 have
        none.
    """
    total = weights.sum(axis=-1, keepdims=True)
    shift = np.maximum(np.frexp(total.astype(np.float64))[1] - MOST_WEIGHT.bit_length() + 1, 0)
    scaled = np.where(weights > 0, np.maximum(weights >> shift, 1), 0)
    total = scaled.sum(axis=-1, keepdims=True)
    is_common = scaled << (precision - 1) >= total
    is_rare = (scaled > 0) & ~is_common
    slots = (1 << precision) - is_rare.sum(axis=-1, keepdims=True)
    common = np.where(is_common, scaled, 0)
    ends = np.cumsum(common, axis=-1)
    first = (ends - common) * slots // ends[..., -1:] + np.cumsum(is_rare, axis=-1) - is_rare
    last = np.full_like(total, 1 << precision)
    return np.concatenate([first, last], axis=-1).astype(np.uint16)


def encode(symbols: Symbols, ends: Counts, first: Slots, precision: int, states: States, code: Code) -> int:
    """See :func:`compiled_loops.encode`."""
    lanes, filled = len(states), 0
    for block in range(len(ends) - 1, -1, -1):
        begin = int(ends[block - 1]) if block else 0
        starts = first[block].astype(np.uint32)
        shares = np.diff(starts)
        for part in reversed(list(_steps(begin, int(ends[block]), lanes))):
            some = slice(part.start % lanes, part.start % lanes + part.stop - part.start)
            start, share, state = starts[symbols[part]], shares[symbols[part]], states[some]
            full = state >> np.uint32(32 - precision) >= share
            words = state[full][::-1]
            code[filled : filled + len(words)] = words & np.uint32(LEAST_STATE - 1)
            filled += len(words)
            state = np.where(full, state >> np.uint32(_WORD), state)
            states[some] = (state // share << np.uint32(precision)) + state % share + start
    return filled


def decode(
    code: Code,
    left: int,
    states: States,
    precision: int,
    weights: Counts,
    mirrors: Counts,
    adaptive: bool,
    lengths: Counts,
    symbols: Symbols,
) -> int:
    """See :func:`compiled_loops.decode`."""
    begin, of_block = 0, _decode_block if len(states) > _FEW else _decode_block_one_by_one
    for group, length in enumerate(lengths.tolist()):
        counts, done = np.zeros(weights.shape[1], np.int64), 0
        for end in block_ends(length) if adaptive else [length]:
            learned = np.where(weights[group] > 0, weights[group] + COUNT * (counts + counts[mirrors]), 0)
            part = slice(begin + done, begin + end)
            left = of_block(code, left, states, precision, divide_slots(learned, precision), part, symbols)
            counts += np.bincount(symbols[part].astype(np.int64), minlength=len(counts))
            done = end
        begin += length
    return left


def _decode_block(
    code: Code, left: int, states: States, precision: int, first: Slots, part: slice, symbols: Symbols
) -> int:
    """Decode the symbols of one block, a step of all lanes at a time."""
    lanes, starts, table = len(states), first.astype(np.uint32), _table(first)
    shares = np.diff(starts)
    for step in _steps(part.start, part.stop, lanes):
        some = slice(step.start % lanes, step.start % lanes + step.stop - step.start)
        state = states[some]
        slot = state & np.uint32((1 << precision) - 1)
        found = table[slot]
        state = shares[found] * (state >> np.uint32(precision)) + slot - starts[found]
        empty = np.flatnonzero(state < LEAST_STATE)[:left]
        state[empty] = state[empty] << np.uint32(_WORD) | code[left - len(empty) : left][::-1]
        left -= len(empty)
        states[some], symbols[step] = state, found
    return left


def _decode_block_one_by_one(
    code: Code, left: int, states: States, precision: int, first: Slots, part: slice, symbols: Symbols
) -> int:
    """The same for few lanes, with the numbers of Python, which take less time than short arrays."""
    lanes, table, starts, now = len(states), _table(first).tolist(), first.tolist(), states.tolist()
    slot_bits, found = (1 << precision) - 1, []
    for place in range(part.start, part.stop):
        state = now[place % lanes]
        slot = state & slot_bits
        symbol = table[slot]
        state = (starts[symbol + 1] - starts[symbol]) * (state >> precision) + slot - starts[symbol]
        if state < LEAST_STATE and left:
            left -= 1
            state = state << _WORD | int(code[left])
        now[place % lanes] = state
        found.append(symbol)
    states[:], symbols[part] = now, found
    return left


def _table(first: Slots) -> NDArray[np.int64]:
    """``[slots]``: the symbol of each slot."""
    return np.repeat(np.arange(len(first) - 1), np.diff(first))


def _steps(begin: int, end: int, lanes: int) -> Iterator[slice]:
    """Consecutive parts of a block, each with at most one symbol of every lane."""
    while begin < end:
        stop = min(begin - begin % lanes + lanes, end)
        yield slice(begin, stop)
        begin = stop
