"""Codes symbols with range ANS in interleaved lanes: compiled loops.

docs/format.md (``lanes``) specifies the arithmetic. States have 32 bits and are refilled with words of 16 bits.
:mod:`lightning_compress.coding.lanes.array_loops` has the same functions for machines without a compiler.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import float64, int64, uint16, uint32, uint64

from lightning_compress.coding.lanes.array_loops import LEAST_STATE, MOST_WEIGHT
from lightning_compress.coding.lanes.types import Code, Counts, Slots, States, Symbols
from lightning_compress.coding.models.adaptive import FIRST_BLOCK
from lightning_compress.coding.models.generalized_gaussian import COUNT
from lightning_compress.runtime.compilation import compiled_exactly

_LEAST, _WORD, _LOW = uint32(LEAST_STATE), uint32(16), uint32(LEAST_STATE - 1)


@compiled_exactly
def encode(symbols: Symbols, ends: Counts, first: Slots, precision: int, states: States, code: Code) -> int:
    """Code blocks of symbols from the last symbol to the first.

    Args:
        symbols: ``[n]``.
        ends: ``[blocks]``: where each block ends.
        first: ``[blocks, symbols + 1]``: where the slots of each symbol of a block begin, and the end of the last.
        precision: base-2 logarithm of the number of slots.
        states: ``[lanes]``; they are changed.
        code: ``[n + 1]``, filled from the front; what lies behind the filled words may be overwritten.

    Returns:
        How many words of the code are filled.
    """
    lane_bits, bits, spare = uint32(len(states) - 1), uint32(precision), uint32(32 - precision)
    own = states.copy()  # an array that, as the compiler sees, no other one overlaps
    filled = uint64(0)
    for block in range(len(ends) - 1, -1, -1):
        begin = ends[block - 1] if block else int64(0)
        for place in range(ends[block] - 1, begin - 1, -1):
            symbol = uint64(symbols[place])
            start = uint32(first[block, symbol])
            share = uint32(first[block, symbol + uint64(1)]) - start
            lane = uint32(place) & lane_bits
            state = own[lane]
            # Without a branch: whether a state is full cannot be predicted.
            is_full = (state >> spare) >= share
            code[filled] = uint16(state)
            filled += uint64(is_full)
            state = state >> _WORD if is_full else state
            quotient = state // share
            own[lane] = (quotient << bits) + (state - quotient * share) + start
    for lane_number in range(len(states)):
        states[lane_number] = own[lane_number]
    words: int = int64(filled)
    return words


@compiled_exactly
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
    """Decode groups of symbols, block by block; the inverse of :func:`encode` with the models that blocks have.

    Args:
        code: ``[words]``, at least one, read from the end.
        left: how many of its words are left; states have taken the others.
        states: ``[lanes]``; they are changed.
        precision: as for :func:`encode`.
        weights: ``[groups, symbols]``: of the first block of each group; a symbol of weight 0 has none in later ones.
        mirrors: ``[symbols]``: which symbol's count is added to that of each symbol; itself twice where none is.
        adaptive: whether the weights of later blocks follow from the counts of earlier ones.
        lengths: ``[groups]``: symbols of each group.
        symbols: ``[n]``, the result.

    Returns:
        How many words of the code are left.
    """
    alphabet = weights.shape[1]
    first, counts = np.empty(alphabet + 1, uint16), np.empty(alphabet, int64)
    learned, slots = np.empty(alphabet, int64), np.empty(alphabet, uint32)
    table = np.empty(1 << precision, symbols.dtype)
    begin = int64(0)
    for group in range(len(lengths)):
        done, length = int64(0), lengths[group]
        for symbol in range(alphabet):
            counts[symbol] = 0
        while done < length:
            for symbol in range(alphabet):
                own = weights[group, symbol]
                learned[symbol] = own + COUNT * (counts[symbol] + counts[mirrors[symbol]]) if own else int64(0)
            divide_slots(learned, precision, first)
            for symbol in range(alphabet):
                for slot in range(first[symbol], first[symbol + 1]):
                    table[slot] = symbol
                slots[symbol] = uint32(first[symbol + 1] - first[symbol]) << _WORD | uint32(first[symbol])
            size = min(length - done, max(done, int64(FIRST_BLOCK))) if adaptive else length
            part = symbols[begin + done : begin + done + size]
            at = int64(0)
            while at < size:
                # A symbol takes a word at most, so this many need no check of whether one is left.
                end = min(at + left, size) if left else size
                least = _LEAST if left else uint32(0)
                left = _decode_some(code, left, least, states, precision, table, slots, begin + done + at, part[at:end])
                at = end
            done += size
            if done < length:
                for place in range(size):
                    counts[uint64(part[place])] += 1
        begin += length
    return left


@compiled_exactly
def _decode_some(
    code: Code,
    left: int,
    least: int,
    states: States,
    precision: int,
    table: Symbols,
    slots: States,
    begin: int,
    symbols: Symbols,
) -> int:
    """Decode symbols of one block.

    Args:
        least: a state below it takes a word.
        table: ``[2^precision]``: the symbol of each slot.
        slots: ``[symbols]``: the number of slots of each symbol, times 2^16, plus the first of them.
        begin: place of the first of them in the stream.
        symbols: the result.
    """
    bits, slot_bits, last_lane = uint32(precision), uint32((1 << precision) - 1), uint32(len(states) - 1)
    own = states.copy()  # an array that, as the compiler sees, no other one overlaps
    for place in range(len(symbols)):
        lane = uint32(begin + place) & last_lane
        slot = own[lane] & slot_bits
        symbol = table[slot]
        share = slots[symbol]
        state = uint32((share >> _WORD) * (own[lane] >> bits) + slot - (share & _LOW))
        # Without a branch: whether a word is needed cannot be predicted.
        refilled = uint32(state << _WORD) | uint32(code[max(left - 1, 0)])
        needs_word = state < least
        own[lane] = refilled if needs_word else state
        left -= int64(needs_word)
        symbols[place] = symbol
    for lane_number in range(len(states)):
        states[lane_number] = own[lane_number]
    return left


@compiled_exactly
def divide_slots(weights: Counts, precision: int, first: Slots) -> None:
    """Divide the slots among symbols; see :func:`lightning_compress.coding.lanes.array_loops.divide_slots`.

    Args:
        weights: ``[symbols]``.
        precision: base-2 logarithm of the number of slots.
        first: ``[symbols + 1]``, the result.
    """
    total, shift = int64(0), 0
    for symbol in range(len(weights)):
        total += weights[symbol]
    while total >> shift >= MOST_WEIGHT:
        shift += 1
    total = int64(0)
    for symbol in range(len(weights)):
        total += _scaled(weights[symbol], shift)
    rare, common = int64(0), int64(0)
    for symbol in range(len(weights)):
        weight = _scaled(weights[symbol], shift)
        if weight << (precision - 1) >= total:
            common += weight
        elif weight:
            rare += 1
    slots, before, ones = (int64(1) << precision) - rare, int64(0), int64(0)
    for symbol in range(len(weights)):
        first[symbol] = before * slots // common + ones
        weight = _scaled(weights[symbol], shift)
        if weight << (precision - 1) >= total:
            before += weight
        elif weight:
            ones += 1
    first[len(weights)] = slots + rare


@compiled_exactly
def divide_slots_of_blocks(weights: Counts, precision: int, first: Slots) -> None:
    """The same for ``[blocks, symbols]`` and ``[blocks, symbols + 1]``."""
    for block in range(len(weights)):
        divide_slots(weights[block], precision, first[block])


@compiled_exactly
def bits_in_slots(seen: Counts, weights: Counts, precision: int) -> float:
    """Bits of words whose symbols have slots in proportion to their weights.

    Args:
        seen: ``[blocks, symbols]``: how often each symbol occurs.
        weights: ``[blocks, symbols]``, positive where a symbol occurs.
        precision: base-2 logarithm of the number of slots.
    """
    first, bits = np.empty(weights.shape[1] + 1, uint16), 0.0
    for block in range(len(weights)):
        divide_slots(weights[block], precision, first)
        for symbol in range(weights.shape[1]):
            if seen[block, symbol]:
                slots = float64(first[symbol + 1] - first[symbol])
                bits += float64(seen[block, symbol]) * (precision - math.log2(slots))
    return bits


@compiled_exactly
def _scaled(weight: int, shift: int) -> int:
    """A weight of fewer bits that is positive if the weight is."""
    scaled: int = max(weight >> shift, int64(1)) if weight else int64(0)
    return scaled
