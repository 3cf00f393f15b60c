"""Forged grid, codebook, factored and sparse payloads: false sizes, indices, positions and parameters."""

from __future__ import annotations

from typing import Any

import pytest
from forge import Json, by_hand, open_and_verify, stored_words
from tampering import refused_when_read

from lightning_compress.errors import ChecksumError, FormatError

RAW = {"kind": "raw"}
Streams = dict[str, bytes]
# Files whose streams and parameters agree; only the checksum of the restored values is another.
SOUND: dict[str, tuple[list[int], Json, Streams]] = {
    "grid": (
        [4, 3],
        {"kind": "grid", "step": 0.5, "trellis": 0, "width": 1, "groups": [6, 6], "rows": 4, "classes": ["rows"]}
        | {"exponent": -7, "offset": 0.25},
        {
            "row_exponents": bytes([0, 3, 1, 255]),
            "row_classes": bytes([0, 1, 1, 0]),
            "column_offsets": stored_words([0, 65535, 7], 2),
            "indices": bytes(range(12)),
        },
    ),
    "trellis": (
        [4, 3],
        {"kind": "grid", "step": 0.5, "trellis": 8, "width": 2, "groups": [12, 0]},
        {"indices": stored_words([0, 3, 4, 0] * 3, 2)},
    ),
    "codebook": (
        [4, 3],
        {"kind": "codebook", "levels": 2, "outliers": RAW | {"count": 2}}
        | {"scales": {"unit": 0.5, "width": 1, "row": 3, "size": 2}},
        {
            "indices": bytes([0, 1, 2, 0, 1, 0, 2, 1, 1, 0, 0, 1]),
            "codebook": stored_words([0x3F800000, 0xBF800000], 4),
            "scales": bytes(range(8)),
            "outlier_values": bytes(8),
        },
    ),
    "factors": (
        [6, 4],
        {"kind": "factored", "rows": 6, "rank": 1, "left": RAW, "right": RAW},
        {"left_values": bytes(24), "right_values": bytes(16)},
    ),
    "gaps": (
        [6, 4],
        {"kind": "sparse", "positions": "gaps", "width": 1, "count": 3, "values": RAW},
        {"positions": bytes([0, 2, 19]), "value_values": bytes(12)},
    ),
    "bitmap": (
        [5, 4],
        {"kind": "sparse", "positions": "bitmap", "width": 1, "count": 3, "values": RAW},
        {"positions": bytes([1, 2, 8]), "value_values": bytes(12)},
    ),
}
SCALES: Json = SOUND["codebook"][1]["scales"]
CASES: dict[str, tuple[str, Json, Streams, str]] = {
    "a step of 0": ("grid", {"step": 0.0}, {}, "the step of a grid is 0.0"),
    "a whole step": ("grid", {"step": 1}, {}, "the step of a grid is 1"),
    "a step beyond floats": ("grid", {"step": 1e308}, {}, "reaches beyond torch.float32"),
    "an unknown trellis": ("grid", {"trellis": 256}, {}, "a trellis of 256 states is unknown"),
    "wide words": ("grid", {"width": 2}, {}, "indices"),
    "groups of more": ("grid", {"groups": [6, 7]}, {}, "hold 13 elements, expected 12"),
    "groups of other classes": ("grid", {"groups": [7, 5]}, {}, "context 0 is said to have 7"),
    "a group more": ("grid", {"groups": [6, 3, 3]}, {}, "has 3 groups, expected 2"),
    "rows of another matrix": ("grid", {"rows": 3}, {}, "row_exponents|has 3 rows"),
    "0 rows": ("grid", {"rows": 0}, {}, "has 0 rows, expected a divisor"),
    "classes of layers": ("grid", {"classes": ["layers"]}, {}, "sides of a grid"),
    "a class of its own": ("grid", {}, {"row_classes": bytes([0, 1, 2, 0])}, "has 2 groups, expected 3"),
    "the largest class": ("grid", {}, {"row_classes": bytes([0, 1, 255, 0])}, "has 2 groups, expected 256"),
    "exponents that begin at 1": ("grid", {}, {"row_exponents": bytes([1, 1, 2, 3])}, "coded as 1, expected 0"),
    "an exponent beyond": ("grid", {"exponent": 31746}, {}, "the smallest row exponent is 31746"),
    "powers beyond floats": ("grid", {"exponent": 31745}, {}, "reaches beyond"),
    "an infinite unit": ("grid", {"offset": 1e400}, {}, "expected a positive float|not JSON|damaged"),
    "a negative unit": ("grid", {"offset": -0.25}, {}, "unit of the offsets of a grid is -0.25"),
    "offsets beyond floats": ("grid", {"offset": 1e38}, {}, "reaches beyond torch.float32"),
    "an offset fewer": ("grid", {}, {"column_offsets": bytes(4)}, "expected 3 words"),
    "a path of another length": ("trellis", {"groups": [11, 1]}, {}, "context 0 is said to have 11"),
    "indices of another path": (
        "trellis", {}, {"indices": stored_words([1, 3, 4, 0] * 3, 2)}, "context 0 is said to have 12",
    ),
    "an index beyond the trellis": (
        "trellis", {}, {"indices": stored_words([65535, 3, 4, 0] * 3, 2)}, "the word 65535 stands in a grid",
    ),
    "a trellis without groups": ("trellis", {"groups": [12]}, {}, "groups of a grid are"),
    "an index beyond the values": ("codebook", {}, {"indices": bytes([3] * 12)}, "index 3 stands in a codebook of 2"),
    "an outlier more": ("codebook", {}, {"indices": bytes([2] * 3 + [0] * 9)}, "3 indices are marked as outliers"),
    "a value more": ("codebook", {"levels": 3}, {}, "codebook"),
    "no values": ("codebook", {"levels": -1}, {}, "'levels' is -1"),
    "outliers of a grid": ("codebook", {"outliers": {"kind": "grid", "count": 2}}, {}, "outlier payload"),
    "outliers beyond the elements": ("codebook", {"outliers": RAW | {"count": 13}}, {}, "'count' is 13"),
    "groups larger than rows": ("codebook", {"scales": SCALES | {"size": 4}}, {}, "do not fit 12 elements"),
    "groups of nothing": ("codebook", {"scales": SCALES | {"size": 0}}, {}, "do not fit 12 elements"),
    "rows that do not divide": ("codebook", {"scales": SCALES | {"row": 5}}, {}, "do not fit 12 elements"),
    "an infinite scale": ("codebook", {"scales": SCALES | {"unit": -1.0}}, {}, "the unit of scales is -1.0"),
    "a rank too high": ("factors", {"rank": 3}, {}, "factors of rank 3"),
    "a rank of 0": ("factors", {"rank": 0}, {}, "factors of rank 0"),
    "factors of factors": ("factors", {"left": {"kind": "factored"}}, {}, "the left payload is"),
    "a factor of a grid": ("factors", {"right": {"kind": "grid"}}, {}, "the right payload is"),
    "rows of another tensor": ("factors", {"rows": 4}, {}, "left_values|factors of 4 rows"),
    "a factor too short": ("factors", {}, {"left_values": bytes(20)}, "expected 6 words"),
    "a position at the end": ("gaps", {}, {"positions": bytes([0, 2, 20])}, "an element lies at 24"),
    "a position far away": ("gaps", {}, {"positions": bytes([0, 255, 0])}, "255 elements on"),
    "an element fewer": ("gaps", {"count": 2}, {}, "positions|value_values"),
    "more elements than the tensor": ("gaps", {"count": 25}, {}, "'count' is 25"),
    "sparse in sparse": ("gaps", {"values": {"kind": "sparse"}}, {}, "the value payload is"),
    "values of a grid": ("gaps", {"values": {"kind": "grid"}}, {}, "the value payload is"),
    "unknown positions": ("gaps", {"positions": "runs"}, {}, "'runs' of 1 bytes are unknown"),
    "an element more in the bitmap": ("bitmap", {}, {"positions": bytes([1, 3, 8])}, "keeps 3 elements, and marks 4"),
    "an element beyond the bitmap": ("bitmap", {}, {"positions": bytes([1, 2, 16])}, "beyond the 20"),
    "a parameter more in a grid": ("grid", {"code": "print()"}, {}, "parameters that no"),
    "a parameter more in a codebook": ("codebook", {"code": 1}, {}, "parameters that no"),
    "a parameter more in factors": ("factors", {"left": RAW | {"code": 1}}, {}, "parameters that no"),
    "a parameter more in sparse": ("gaps", {"values": RAW | {"code": 1}}, {}, "parameters that no"),
}  # fmt: skip


def file_of(shape: list[int], payload: Json, streams: Streams) -> bytes:
    coded = {name: ("stored", code) for name, code in streams.items()}
    return by_hand(shape, "float32", payload, coded, crc32="12345678")


@pytest.mark.parametrize("name", SOUND)
def test_the_unforged_payloads_are_valid_except_for_their_checksum(name: str) -> None:
    refused_when_read(file_of(*SOUND[name]), ChecksumError, "does not restore to the values it was made from")


@pytest.mark.parametrize("case", CASES)
def test_a_forged_payload_is_refused(case: str) -> None:
    name, parameters, other, message = CASES[case]
    shape, payload, streams = SOUND[name]
    refused_when_read(file_of(shape, payload | parameters, streams | other), FormatError, message)


@pytest.mark.parametrize("name", SOUND)
def test_every_parameter_that_is_missing_or_of_another_type_is_refused(name: str) -> None:
    shape, payload, streams = SOUND[name]
    others: list[Any] = [None, True, -1, 1.5, "x", [], {}, [[]]]
    for key in payload:
        if key == "kind":
            continue
        for changed in [payload | {key: value} for value in others] + [{k: payload[k] for k in payload if k != key}]:
            with pytest.raises((FormatError, ChecksumError)):
                open_and_verify(file_of(shape, changed, streams))


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("shape", [[], [0], [1], [3, 4], [12, 1, 1], [2, 3, 2]], ids=str)
def test_another_shape_is_refused(name: str, shape: list[int]) -> None:
    _, payload, streams = SOUND[name]
    with pytest.raises((FormatError, ChecksumError)):
        open_and_verify(file_of(shape, payload, streams))


@pytest.mark.parametrize(
    "name", [name for name in SOUND if name != "gaps"]
)  # a sparse tensor of few elements can have any shape
def test_a_large_shape_takes_no_memory(name: str) -> None:
    _, payload, streams = SOUND[name]
    refused_when_read(
        file_of([1 << 14, 1 << 14], payload, streams), FormatError, "expected|do not fit|bitmap|classes|rows|operations"
    )
