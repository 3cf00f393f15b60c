"""Payloads inside payloads: their parameters under one key, their streams under one prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lightning_compress.errors import FormatError
from lightning_compress.quantize.half import HalfPayload
from lightning_compress.quantize.indexed import IndexedPayload
from lightning_compress.quantize.payload import Payload, StreamSpec, Words
from lightning_compress.quantize.raw import RawPayload

_INNER: dict[str, type[Payload]] = {p.kind: p for p in (RawPayload, HalfPayload, IndexedPayload)}


def inner_parameters(payload: Payload) -> dict[str, Any]:
    """Kind and parameters of a payload, as they stand in those of the one around it."""
    return {"kind": payload.kind, **payload.parameters()}


def inner_streams(payload: Payload, prefix: str) -> dict[str, Words]:
    """The streams of a payload, each name with the prefix and an underscore before it."""
    return {f"{prefix}_{name}": words for name, words in payload.streams().items()}


def inner_layout(parameters: Any, prefix: str, count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
    """The layout of a payload of ``count`` elements inside another, under the names that its streams have there.

    Raises:
        FormatError: ``parameters`` are not those of a payload that may stand inside another.
    """
    if not isinstance(parameters, Mapping) or parameters.get("kind") not in _INNER:
        raise FormatError(f"{prefix} of a payload is {parameters!r}, expected one of the kinds {', '.join(_INNER)}")
    layout = _INNER[parameters["kind"]].layout(parameters, count, dtype)
    return {f"{prefix}_{name}": spec for name, spec in layout.items()}


def inner_payload(
    parameters: Mapping[str, Any],
    prefix: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    streams: Mapping[str, Words],
) -> Payload:
    """The payload inside another, from the parameters that :func:`inner_layout` took and the streams of the whole.

    Raises:
        FormatError: a stream holds a value that cannot stand there.
    """
    own = {n.removeprefix(f"{prefix}_"): words for n, words in streams.items() if n.startswith(f"{prefix}_")}
    return _INNER[parameters["kind"]].from_streams(parameters, shape, dtype, own)
