"""The registry of coders, and the choice among them: for each stream the coder whose measured bytes are fewest.

A coder is one file and one entry here. There are no entry points for coders: whether a file can be read must not depend
on what else is installed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightning_compress.coding.ans import Ans
from lightning_compress.coding.coder import Coder, Statistics, Words
from lightning_compress.coding.contexts import Contexts
from lightning_compress.coding.huffman import Huffman
from lightning_compress.coding.packed import Packed
from lightning_compress.coding.planes import Planes
from lightning_compress.coding.stored import Stored
from lightning_compress.coding.zstandard import Zstandard
from lightning_compress.errors import VersionError

# Fastest to decode first: of equal sizes the first is taken. Byte planes store these numbers, so a new coder takes the
# next one, and none is ever given to another coder.
_BYTE_CODERS: dict[int, Coder] = {0: Stored(), 1: Packed(), 2: Zstandard(), 3: Huffman(), 4: Ans(), 5: Contexts()}


def _choose(statistics: Statistics, coders: Sequence[Coder]) -> tuple[Coder, bytes]:
    """The coder that needs the fewest bytes, and those bytes; a coder whose lower bound is larger is not run."""
    bounds = [(coder.lower_bound(statistics), order) for order, coder in enumerate(coders)]
    known = [(bound, order) for bound, order in bounds if bound is not None]
    best: tuple[int, int, bytes] | None = None
    for bound, order in sorted(known, key=lambda item: (item[0] == 0, item)):  # no bound: last
        if best is not None and (bound, order) > best[:2]:
            continue
        data = coders[order].encode(statistics)
        if best is None or (len(data), order) < best[:2]:
            best = (len(data), order, data)
    assert best is not None
    return coders[best[1]], best[2]


def _choose_plane(words: Words) -> tuple[int, bytes]:
    coder, data = _choose(Statistics(words), list(_BYTE_CODERS.values()))
    return next(number for number, known in _BYTE_CODERS.items() if known is coder), data


_ALL: tuple[Coder, ...] = (*_BYTE_CODERS.values(), Planes(_BYTE_CODERS, _choose_plane))
CODERS: dict[str, Coder] = {coder.id: coder for coder in _ALL}


def encode(words: Words, groups: tuple[int, ...] = ()) -> tuple[str, bytes]:
    """Code a stream of at least one word.

    Args:
        words: ``[n]`` unsigned words of 1, 2, 4 or 8 bytes, n ≥ 1.
        groups: lengths of consecutive groups of words, each with a distribution of its own; they sum to n. None: the
            stream is one group.

    Returns:
        The id of the coder that needs the fewest bytes (the faster to decode, among equals), and those bytes.
    """
    coder, data = _choose(Statistics(np.ascontiguousarray(words), groups), _ALL)
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
