"""The registries that a reader looks into: ids and numbers in files are frozen, unknown ones are refused by name."""

from __future__ import annotations

import pytest
import torch

from lightning_compress.archive.manifest import fields
from lightning_compress.coding import CODERS, choose, decode
from lightning_compress.errors import FormatError, VersionError
from lightning_compress.quantize import NESTABLE_PAYLOADS, PAYLOADS


def test_ids_and_numbers_of_coders_are_frozen():
    numbers = {number: coder.id for number, coder in choose._BYTE_CODERS.items()}
    assert numbers == {0: "stored", 1: "packed", 2: "zstd", 3: "huffman", 4: "ans", 5: "contexts", 6: "lanes"}
    assert set(CODERS) == {*numbers.values(), "planes"}


def test_kinds_of_payloads_are_frozen():
    assert set(PAYLOADS) == {"raw", "half", "indexed", "codebook", "grid", "sparse", "factored"}
    assert set(NESTABLE_PAYLOADS) == {"raw", "half", "indexed", "codebook"}
    assert all(payload.kind == kind for kind, payload in PAYLOADS.items())


def test_an_unknown_coder_is_refused_by_name():
    with pytest.raises(VersionError, match=r"coder 'lzma' is unknown to this version, which knows stored, .*planes"):
        decode("lzma", memoryview(b""), 1, 1)
    with pytest.raises(VersionError, match=r"a stream has the coder 'lzma', this version knows stored, .*planes"):
        fields.coder("lzma")


def test_an_unknown_number_of_a_coder_is_refused():
    with pytest.raises(FormatError, match="byte plane 0 has no coder that this version knows"):
        decode("planes", memoryview(bytes([0, 255, 0])), 1, 2)


def test_an_unknown_payload_is_refused_by_name():
    with pytest.raises(VersionError, match="'w' has a payload of kind 'wavelet', this version knows raw, half"):
        fields.payload("w", {"kind": "wavelet"})
    with pytest.raises(FormatError, match="expected a known kind: raw, half, indexed, codebook"):
        PAYLOADS["sparse"].layout(
            {"positions": "gaps", "width": 1, "count": 2, "values": {"kind": "wavelet"}}, 10, torch.float32
        )
