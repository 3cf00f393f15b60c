"""The fingerprint of weights: equal for equal content, on every device, and for no other content that is ever met.

It is a BLAKE3 digest of 128 bits (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020). One core computes this
cryptographic hash four times as fast as SHA-256, and the difference is larger without instructions for the latter.
Older files hold a SHA-256, which has no prefix; it is computed where one of them is compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from lightning_compress.weights.values.flat_values import as_bytes

PREFIX = "blake3:"
_BYTES = 16


class Hash(Protocol):
    """A hash of hashlib, or BLAKE3."""

    def update(self, data: Any, /) -> object:  # Any: before Python 3.12 there is no type of all buffers
        """Add bytes."""


def fingerprint(tensors: Iterable[tuple[str, Tensor]], ties: Mapping[str, Sequence[object]], like: str) -> str:
    """The fingerprint of named tensors and ties.

    Args:
        tensors: names and tensors, in order.
        ties: name → the tensor it is a view of, its offset, shape and stride.
        like: another fingerprint; the result is of its kind.
    """
    from blake3 import blake3  # not needed where files are only read

    newest, older = blake3(), hashlib.sha256()
    is_newest = like.startswith(PREFIX)
    digest: Hash = newest if is_newest else older
    _add(digest, tensors)
    digest.update(json.dumps(dict(ties)).encode())
    return PREFIX + str(newest.hexdigest(_BYTES)) if is_newest else older.hexdigest()


def content_digest(tensors: Mapping[str, Tensor]) -> str:
    """The digest of names, dtypes, shapes and values, in the order of the names."""
    from blake3 import blake3

    digest = blake3()
    _add(digest, ((name, tensors[name]) for name in sorted(tensors)))
    return str(digest.hexdigest())


def _add(digest: Hash, tensors: Iterable[tuple[str, Tensor]]) -> None:
    for name, tensor in tensors:
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(as_bytes(tensor).numpy().data)
