"""The code of a stream of symbols: the words of 16 bits that lanes emit, and then their states."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from lightning_compress.coding.lanes import array_loops
from lightning_compress.coding.lanes.types import Code, Counts, Slots, States, Symbols
from lightning_compress.errors import FormatError
from lightning_compress.runtime.compiler import has_compiler, read_only

MAX_LANES = 32
PRECISIONS = range(12, 16)
_BYTES_PER_LANE = 6144  # of code; a lane costs three
_TRIED = 2  # the largest precisions
_ROUNDING = 0.0037 / 4.0**16  # bits that a word takes more because states are whole numbers, measured: · 4^precision
_WORD = 16


@dataclass(frozen=True)
class Layout:
    """How a stream is coded.

    Attributes:
        lanes: number of states, a power of two up to 32.
        precision: base-2 logarithm of the number of slots, 12 to 15.
    """

    lanes: int
    precision: int

    @classmethod
    def suited(cls, seen: Counts, weights: Counts, nbytes: float) -> Layout:
        """The layout for words of these counts and weights, ``[blocks, symbols]``, and about so many bytes of code.

        Fewer slots lengthen the codes of rare symbols. More slots lengthen every code, as a state holds fewer multiples
        of their number.
        """
        lanes = 1 << int(nbytes // _BYTES_PER_LANE).bit_length() >> 1
        fewest = (weights.shape[1] - 1).bit_length() + 2
        words = int(seen.sum())
        bits = {
            precision: _bits(seen, weights, precision) + words * _ROUNDING * 4.0**precision
            for precision in PRECISIONS[-_TRIED:]
            if precision >= fewest
        }
        return cls(min(max(lanes, 1), MAX_LANES), min(bits, key=bits.__getitem__))

    @property
    def start(self) -> int:
        """The state before a symbol is coded. One lane starts from 0, which saves two bytes."""
        return 0 if self.lanes == 1 else array_loops.LEAST_STATE


def _divided(weights: Counts, precision: int) -> Slots:
    """``[blocks, symbols + 1]``: see :func:`array_loops.divide_slots`."""
    if not has_compiler():
        return array_loops.divide_slots(weights, precision)
    from lightning_compress.coding.lanes.compiled_loops import divide_slots_of_blocks

    first = np.empty((len(weights), weights.shape[1] + 1), np.uint16)
    divide_slots_of_blocks(np.ascontiguousarray(weights), precision, first)
    return first


def _bits(seen: Counts, weights: Counts, precision: int) -> float:
    """Bits of words of these counts and weights, ``[blocks, symbols]`` both, in so many slots."""
    if has_compiler():
        from lightning_compress.coding.lanes.compiled_loops import bits_in_slots

        return float(bits_in_slots(seen, weights, precision))
    slots = np.diff(_divided(weights, precision).astype(np.int64), axis=-1)
    return float((seen * (precision - np.log2(np.maximum(slots, 1)))).sum())


def encode(symbols: Symbols, ends: Counts, weights: Counts, layout: Layout) -> memoryview:
    """The code of blocks of symbols.

    Args:
        symbols: ``[n]``.
        ends: ``[blocks]``: where each block ends.
        weights: ``[blocks, symbols]``.
        layout: of the code.
    """
    states = np.full(layout.lanes, layout.start, np.uint32)
    code = np.empty(len(symbols) + 2 * layout.lanes, "<u2")
    first = _divided(weights, layout.precision)
    filled = _loops().encode(read_only(symbols), ends, first, layout.precision, states, code)
    for state in reversed(states.tolist()):
        words = [state & 0xFFFF, state >> _WORD] if state >> _WORD else [state] if state else []
        code[filled : filled + len(words)] = words
        filled += len(words)
    data = code[:filled].view(np.uint8).data
    return data[:-1] if len(data) and not data[-1] else data


def decode(
    data: memoryview,
    layout: Layout,
    weights: Counts,
    mirrors: Counts | None,
    lengths: Counts,
    symbols: Symbols,
) -> None:
    """Decode groups of symbols.

    Args:
        data: their code.
        layout: of the code.
        weights: ``[groups, symbols]``: of the first block of each group.
        mirrors: ``[symbols]``, see :func:`compiled_loops.decode`; None where all words of a group are one block.
        lengths: ``[groups]``: symbols of each group.
        symbols: ``[n]``, the result.

    Raises:
        FormatError: the data are no code of so many symbols.
    """
    code = np.frombuffer(bytes(data) + bytes(len(data) % 2 or 2 * (not data)), "<u2")
    if len(data) and not code[-1]:
        raise FormatError("a stream of lanes ends in a zero word, which no encoder writes")
    states, left = _first_states(code[: -(-len(data) // 2)], layout.lanes)
    adaptive = mirrors is not None
    own = np.arange(weights.shape[1]) if mirrors is None else mirrors
    left = _loops().decode(code, left, states, layout.precision, weights, own, adaptive, lengths, symbols)
    if left or (states != layout.start).any():
        raise FormatError(
            f"a stream of lanes is damaged: {left} words are left, or its states are not those it starts from"
        )


def _first_states(code: Code, lanes: int) -> tuple[States, int]:
    """The states that a decoder begins with, and how many words are left."""
    states, left = np.zeros(lanes, np.uint32), len(code)
    for lane in range(lanes):
        state = 0
        while state < array_loops.LEAST_STATE and left:
            left -= 1
            state = state << _WORD | int(code[left])
        states[lane] = state
    return states, left


def _loops() -> ModuleType:
    """The compiled loops, or those of arrays."""
    if not has_compiler():
        return array_loops
    from lightning_compress.coding.lanes import compiled_loops

    return compiled_loops
