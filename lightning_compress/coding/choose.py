"""The registry of coders, and the choice among them: for each stream the coder whose measured bytes are fewest.

A coder is one file and one entry here. There are no entry points for coders: whether a file can be read must not depend
on what else is installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TypeGuard

import numpy as np

from lightning_compress.coding.ans import Ans
from lightning_compress.coding.coder import Coder, FittedCoder, Statistics, Words
from lightning_compress.coding.contexts import Contexts
from lightning_compress.coding.huffman import Huffman
from lightning_compress.coding.lanes import Lanes
from lightning_compress.coding.models.adaptive_fit import MAX_SYMBOLS
from lightning_compress.coding.packed import Packed
from lightning_compress.coding.planes import LONG, Planes, is_noise
from lightning_compress.coding.stored import Stored
from lightning_compress.coding.zstandard import Zstandard
from lightning_compress.errors import VersionError

# Byte planes store these numbers, so a new coder takes the next one, and none is ever given to another coder.
_BYTE_CODERS: dict[int, Coder] = {
    0: Stored(),
    1: Packed(),
    2: Zstandard(),
    3: Huffman(),
    4: Ans(),
    5: Contexts(),
    6: Lanes(),
}
# ``lanes`` is about as small as these, and written and read faster, so they must save a share of the bytes and so many.
# Only large alphabets are coded by ``ans``; the code of ``contexts`` is read and no longer written.
# The shares are those of short streams and of long ones.
_LEAST_SAVED = {"ans": (0.001, 0.001, 0), "contexts": (0.001, 0.001, 0), "planes": (0.02, 0.001, 32)}


def _choose(statistics: Statistics, coders: Sequence[Coder]) -> tuple[Coder, bytes]:
    """The coder that needs the fewest bytes, and those bytes; a slow coder must save some.

    The coder with the smallest lower bound is next, until all bounds are above the best code so far. A coder that fits
    a model is asked first for the bound of its fit, which may put it behind others. Of equal codes the first is taken.
    """

    def worth(order: int, nbytes: float) -> float:
        of_short, of_long, least = _LEAST_SAVED.get(coders[order].id, (0.0, 0.0, 0))
        return nbytes / (1 - (of_short if len(statistics.words) < LONG else of_long)) + least

    bounds = [(coder.lower_bound(statistics), order) for order, coder in enumerate(coders)]
    queue = [(worth(order, bound), order, False) for bound, order in bounds if bound is not None]
    heapify(queue)
    best: tuple[float, int, bytes] | None = None
    while queue and (best is None or queue[0][:2] <= best[:2]):
        _, order, fitted = heappop(queue)
        coder = coders[order]
        if _fits(coder) and not fitted:
            heappush(queue, (worth(order, coder.fitted_bound(statistics)), order, True))
            continue
        data = coder.encode(statistics)
        size = worth(order, len(data))
        best = min(best or (size, order, data), (size, order, data))
    assert best is not None
    return coders[best[1]], best[2]


def _fits(coder: Coder) -> TypeGuard[FittedCoder]:
    """Whether a coder fits a model; ``isinstance`` of a protocol would take as long as many a code."""
    return hasattr(coder, "fitted_bound")


def _choose_plane(words: Words) -> tuple[int, bytes]:
    statistics = Statistics(words)
    if is_noise(statistics):
        return 0, CODERS[Stored.id].encode(statistics)
    coder, data = _choose(statistics, _FAST)
    return next(number for number, known in _BYTE_CODERS.items() if known is coder), data


_FAST: list[Coder] = [coder for coder in _BYTE_CODERS.values() if coder.id not in _LEAST_SAVED]
_PLANES = Planes(_BYTE_CODERS, _choose_plane)
CODERS: dict[str, Coder] = {coder.id: coder for coder in (*_BYTE_CODERS.values(), _PLANES)}


def encode(words: Words, groups: tuple[int, ...] = ()) -> tuple[str, bytes]:
    """Code a stream of at least one word.

    Args:
        words: ``[n]`` unsigned words of 1, 2, 4 or 8 bytes, n ≥ 1.
        groups: lengths of consecutive groups of words, each with a distribution of its own; they sum to n. None: the
            stream is one group.

    Returns:
        The id of the coder that needs the fewest bytes (a slow one only if it saves some), and those bytes.
    """
    statistics = Statistics(np.ascontiguousarray(words), groups)
    slow: list[Coder] = [_PLANES] if words.nbytes > _LEAST_SAVED[_PLANES.id][2] else []
    slow += [CODERS[Ans.id]] if statistics.largest >= MAX_SYMBOLS else []
    coder, data = _choose(statistics, [*_FAST, *slow])
    return coder.id, data


def decode(coder_id: str, data: memoryview, count: int, width: int, groups: tuple[int, ...] = ()) -> Words:
    """The words of a coded stream; ``groups`` as it was coded with.

    Raises:
        VersionError: no coder of that id is known.
        FormatError: the bytes are not such a stream of ``count`` words of ``width`` bytes.
    """
    if coder_id not in CODERS:
        raise VersionError(
            f"coder {coder_id!r} is unknown to this version, which knows {', '.join(CODERS)}: update lightning-compress"
        )
    return CODERS[coder_id].decode(data, count, width, groups)
