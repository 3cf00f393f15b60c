"""The kinds of payload that may stand inside others: all that hold no tensor of another shape themselves."""

from __future__ import annotations

from collections.abc import Mapping

from lightning_compress.quantize.codebook.payload import CodebookPayload
from lightning_compress.quantize.interval.payload import IndexedPayload
from lightning_compress.quantize.payload import Payload
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload

INNER: Mapping[str, type[Payload]] = {p.kind: p for p in (RawPayload, HalfPayload, IndexedPayload, CodebookPayload)}
