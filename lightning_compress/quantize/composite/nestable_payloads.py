"""The registry of the payloads that may stand inside others, such as the factors of a matrix.

None of them has parameters that depend on the shape of the tensor. A payload is one file and one entry here, or in
``PAYLOADS`` of :mod:`lightning_compress.quantize` where it only stands alone. There are no entry points for payloads:
whether a file can be read must not depend on what else is installed.
"""

from __future__ import annotations

from collections.abc import Mapping

from lightning_compress.quantize.codebook.payload import CodebookPayload
from lightning_compress.quantize.interval.payload import IndexedPayload
from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload

NESTABLE_PAYLOADS: Mapping[str, type[Payload]] = {
    payload.kind: payload for payload in (RawPayload, HalfPayload, IndexedPayload, CodebookPayload)
}
