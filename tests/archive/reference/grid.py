"""A second reader of grid payloads, written from docs/format.md alone, one weight at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_LAGS = {4: (1,), 8: (1, 2), 16: (2, 3), 32: (1, 2, 4), 64: (1, 4, 5), 128: (1, 5, 6)}


def rows_and_columns(shape: Sequence[int]) -> tuple[int, int]:
    sizes = list(shape)
    while sizes and sizes[0] == 1:
        del sizes[0]
    rows = sizes[0] if sizes else 1
    return rows, math.prod(sizes[1:])


def grid_streams(payload: Mapping[str, Any], n: int) -> dict[str, tuple[int, int]]:
    """Stream name → number of words and bytes per word, in order."""
    streams = {}
    if "exponent" in payload:
        streams["row_exponents"] = (payload["rows"], 1)
    if "rows" in payload.get("classes", []):
        streams["row_classes"] = (payload["rows"], 1)
    if "columns" in payload.get("classes", []):
        streams["column_classes"] = (n // payload["rows"], 1)
    if "offset" in payload:
        streams["column_offsets"] = (n // payload["rows"], 2)
    return streams | ({"indices": (n, payload["width"])} if n else {})


def grid_values(payload: Mapping[str, Any], shape: Sequence[int], words: Mapping[str, Sequence[int]]) -> list[float]:
    """The elements before they are rounded to the dtype."""
    rows, columns = rows_and_columns(shape)
    row_class = words.get("row_classes", [0] * rows)
    column_class = words.get("column_classes", [0] * columns)
    trellis = payload["trellis"]
    contexts = (max(row_class, default=0) + max(column_class, default=0) + 1) * (2 if trellis else 1)
    lengths = payload.get("groups", [rows * columns])
    assert len(lengths) == contexts
    queues, start = [], 0
    for length in lengths:
        queues.append(list(reversed(words.get("indices", [])[start : start + length])))
        start += length
    points = [[0] * columns for _ in range(rows)]
    history = [[0] * 8 for _ in range(rows)]  # quantizers up to this column, the last one its own
    for column in range(columns):
        for row in range(rows):
            quantizer = history[row][-1]
            context = row_class[row] + column_class[column]
            word = queues[2 * context + quantizer if trellis else context].pop()
            index = word // 2 if word % 2 == 0 else -(word + 1) // 2
            if not trellis:
                points[row][column] = index
                continue
            points[row][column] = 2 * index - quantizer * ((index > 0) - (index < 0))
            before = sum(history[row][-1 - lag] for lag in _LAGS[trellis])
            history[row].append((index + before) % 2)
    assert not any(queues)
    exponents = words.get("row_exponents", [0] * rows)
    values = []
    for row in range(rows):
        whole, part = divmod(exponents[row] + payload.get("exponent", 0), 32)
        power, root = 1.0, 2.0
        for bit in (16, 8, 4, 2, 1):
            root = math.sqrt(root)
            power = power * root if part & bit else power
        scale = payload["step"] * math.ldexp(power, whole)
        values += [scale * point for point in points[row]]
    if "offset" in payload:
        numbers = [word // 2 if word % 2 == 0 else -(word + 1) // 2 for word in words["column_offsets"]]
        values = [value + payload["offset"] * numbers[place % columns] for place, value in enumerate(values)]
    return values
