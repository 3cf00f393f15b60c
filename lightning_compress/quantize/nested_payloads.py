"""Payloads inside payloads: their parameters under one key, their streams under one prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from lightning_compress.errors import FormatError
from lightning_compress.quantize.payload import Payload, StreamSpec, Words, count_of
from lightning_compress.quantize.plain.half import HalfPayload
from lightning_compress.quantize.plain.raw import RawPayload
from lightning_compress.runtime import Work

STORAGES: Mapping[str, type[RawPayload | HalfPayload]] = {RawPayload.kind: RawPayload, HalfPayload.kind: HalfPayload}


def inner_parameters(payload: Payload) -> dict[str, Any]:
    """Kind and parameters of a payload, as they stand in those of the one around it."""
    return {"kind": payload.kind, **payload.parameters()}


def inner_streams(payload: Payload, prefix: str) -> dict[str, Words]:
    """The streams of a payload, each name with the prefix and an underscore before it."""
    return {f"{prefix}_{name}": words for name, words in payload.streams().items()}


def inner_layout(  # Any: JSON, checked below
    parameters: Any, prefix: str, count: int, dtype: torch.dtype, kinds: Mapping[str, type[Payload]]
) -> dict[str, StreamSpec]:
    """The layout of a payload of ``count`` elements inside another, under the names that its streams have there.

    Raises:
        FormatError: ``parameters`` are not those of a payload of one of the kinds.
    """
    kind = parameters.get("kind") if isinstance(parameters, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise FormatError(f"the {prefix} payload is {parameters!r}, expected a known kind: {', '.join(kinds)}")
    return {f"{prefix}_{name}": spec for name, spec in kinds[kind].layout(parameters, count, dtype).items()}


def streams_of(streams: Mapping[str, Words], prefix: str) -> dict[str, Words]:
    """The streams of the payload inside, from those of the whole, under their own names."""
    return {n.removeprefix(f"{prefix}_"): words for n, words in streams.items() if n.startswith(f"{prefix}_")}


def outliers_layout(outliers: object, count: int, dtype: torch.dtype) -> dict[str, StreamSpec]:
    """The layout of the outliers of a tensor of ``count`` elements, which say how many they are.

    Raises:
        FormatError: as for :func:`inner_layout`, and more outliers than elements.
    """
    if not isinstance(outliers, Mapping) or "kind" not in outliers:
        raise FormatError(f"outliers are {outliers!r}, expected a known kind, their count and its parameters")
    number = count_of(outliers, "count", count)
    return inner_layout(outliers, "outlier", number, dtype, STORAGES)


def outliers_work(outliers: Mapping[str, Any], dtype: torch.dtype) -> Work:
    """What the outliers take, as their parameters say; they are restored apart from the tensor."""
    number = outliers["count"]
    inner = STORAGES[outliers["kind"]].work(outliers, (number,), dtype)
    return inner + Work(number * dtype.itemsize, 10 * number)


def marked_outliers(
    indices: Words, mark: int, outliers: Mapping[str, Any], dtype: torch.dtype, streams: Mapping[str, Words]
) -> RawPayload | HalfPayload:
    """The outliers of a tensor, as many as indices have the mark.

    Args:
        indices: ``[n]``, of all elements.
        mark: the index of an outlier.
        outliers: their parameters, as :func:`outliers_layout` took them.
        dtype: type of the tensor.
        streams: of the whole payload.

    Raises:
        FormatError: another number of indices has the mark, or the streams are not those of such a payload.
    """
    number, marked = outliers["count"], np.count_nonzero(indices == mark)
    if marked != number:
        raise FormatError(f"{marked} indices are marked as outliers, and {number} outliers are stored")
    return STORAGES[outliers["kind"]].from_streams(outliers, (number,), dtype, streams_of(streams, "outlier"))
