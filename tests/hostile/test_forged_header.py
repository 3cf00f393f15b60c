"""Forged headers and envelopes: parts, offsets, JSON forms and encodings that a writer would not make."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from forge import (
    Json,
    canonical,
    envelope_of,
    file_of,
    forged,
    manifest_of,
    open_and_verify,
    packed_envelope,
    with_header,
    with_text,
)
from tampering import BODY, KEYS, SMALL, SOUND, TEXT, VERSION_1

from lightning_compress.errors import ChecksumError, FormatError

PARTS: dict[str, list[tuple[str, int]]] = {
    "no parts": [],
    "another name": [("small", len(BODY))],
    "parts as of version 1": KEYS,
    "a part too short": [("#small", len(BODY) - 1)],
    "an empty part more": [("#small", len(BODY)), ("x", 0)],
    "small ones in two": [("raw", 31), ("#small", len(BODY) - 31)],
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_that_do_not_follow_from_the_manifest_are_refused(name: str) -> None:
    with pytest.raises(FormatError, match="header does not agree"):
        open_and_verify(with_header(packed_envelope(TEXT), PARTS[name], BODY))


def test_a_header_of_the_other_version_is_refused() -> None:
    with pytest.raises(FormatError, match="header does not agree"):
        open_and_verify(with_header(envelope_of(canonical(manifest_of(SOUND))), SMALL, BODY))


def test_forging_alone_changes_nothing() -> None:
    assert forged(SOUND, lambda manifest: None) == file_of(SOUND)
    open_and_verify(VERSION_1)


HEADERS = {
    "a key twice in the manifest": lambda text: text.replace('{"assets":', '{"class_path":"evil","assets":', 1),
    "keys in another order": lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")),
    "white space": lambda text: text.replace('":', '": ', 1),
    "escaped letters": lambda text: text.replace('"models.Model"', '"\\u006dodels.Model"'),
    "a number in more digits": lambda text: text.replace(',"kind":"indexed"', '0,"kind":"indexed"'),
    "a power of ten": lambda text: text.replace('"levels":8', '"levels":8e0'),
    "minus zero": lambda text: text.replace('"offset":5', '"offset":-0'),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_manifest_that_is_not_canonical_is_refused(name: str) -> None:
    """With the checksum of the changed text, and with that of the canonical text."""
    plain = canonical(manifest_of(SOUND))
    text = HEADERS[name](plain)
    assert text != plain
    for envelope in (envelope_of(text), envelope_of(plain).replace(plain, text)):
        with pytest.raises(FormatError):
            open_and_verify(with_header(envelope, KEYS, BODY))


def _edit_header(edit: Callable[[Json], Any]) -> bytes:
    header = json.loads(VERSION_1[8 : 8 + int.from_bytes(VERSION_1[:8], "little")])
    changed = edit(header)
    header = header if changed is None else changed
    return with_text(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode(), BODY)


def _place(field: str, value: Any) -> Callable[[Json], None]:
    return lambda header: header["half#values"].update({field: value})


HEADER_CASES: dict[str, Callable[[Json], Any]] = {
    "another offset": _place("data_offsets", [0, 80]),
    "offsets turned round": _place("data_offsets", [80, 0]),
    "offsets of floats": _place("data_offsets", [0.0, 80.0]),
    "no offsets": _place("data_offsets", None),
    "another dtype": _place("dtype", "F32"),
    "another shape": _place("shape", [2, 40]),
    "another key in a stream": _place("code", "x"),
    "a stream more": lambda header: header.update(extra={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}),
    "a stream fewer": lambda header: header.pop("half#values") and None,
    "streams in another order": lambda header: dict([*list(header.items())[:1], *list(header.items())[:0:-1]]),
    "a second metadata key": lambda header: header["__metadata__"].update(format="pt"),
    "metadata at the end": lambda header: dict([*list(header.items())[1:], *list(header.items())[:1]]),
    "envelope of an object": lambda header: header["__metadata__"].update(lightning_compress={"manifest": {}}),
    "envelope of a number": lambda header: header["__metadata__"].update(lightning_compress=7),
    "envelope of a list": lambda header: header["__metadata__"].update(lightning_compress="[]"),
    "envelope of nothing": lambda header: header["__metadata__"].update(lightning_compress=""),
    "envelope without a checksum": lambda header: header["__metadata__"].update(lightning_compress='{"manifest":{}}'),
    "metadata of a list": lambda header: header.update(__metadata__=["lightning_compress"]),
}


@pytest.mark.parametrize("name", HEADER_CASES)
def test_a_header_that_does_not_follow_from_the_manifest_is_refused(name: str) -> None:
    data = _edit_header(HEADER_CASES[name])
    assert data != VERSION_1
    with pytest.raises(FormatError):
        open_and_verify(data)


def test_a_header_key_that_stands_twice_is_refused() -> None:
    text = VERSION_1[8 : 8 + int.from_bytes(VERSION_1[:8], "little")].rstrip(b" ")
    for twice in (b',"half#values":{"dtype":"U8","shape":[80],"data_offsets":[0,80]}}', b',"__metadata__":7}'):
        with pytest.raises(FormatError):
            open_and_verify(with_text(text[:-1] + twice, BODY))


DEEP = 200_000


@pytest.mark.parametrize("text", ["[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "9" * 10_000])
def test_json_nested_or_written_without_end_is_refused(text: str) -> None:
    manifest = canonical(manifest_of(SOUND)).replace('{"size":5}', '{"size":' + text + "}")
    for data in (
        with_header(envelope_of(manifest), KEYS, BODY),
        with_header(text, KEYS, BODY),
        with_text(VERSION_1[8:].split(b'":"')[0] + b'":' + text.encode() + b"}}", BODY),
    ):
        with pytest.raises(FormatError):
            open_and_verify(data)


@pytest.mark.parametrize("depth", [*range(100, 1100, 50), 3000])
def test_json_nested_deeply_is_read_or_refused(depth: int) -> None:
    """Near the limit of the interpreter, where reading succeeds and writing again may not."""
    text = canonical(manifest_of(SOUND)).replace('{"size":5}', '{"size":' + "[" * depth + "5" + "]" * depth + "}")
    try:
        open_and_verify(with_header(envelope_of(text), KEYS, BODY))
    except FormatError:
        assert depth > 300


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
def test_a_header_in_another_encoding_is_refused(encoding: str) -> None:
    text = canonical(manifest_of(SOUND)).replace("models.Model", "models.Übersetzer")
    start = '{"__metadata__":{"lightning_compress":'
    header = start + json.dumps(envelope_of(text), ensure_ascii=False) + "}}"
    with pytest.raises(FormatError):
        open_and_verify(with_text(start.encode() + header.removeprefix(start).encode(encoding), BODY))


def test_a_changed_manifest_with_the_old_checksum_is_refused() -> None:
    with pytest.raises(ChecksumError, match="manifest does not have its checksum"):
        open_and_verify(VERSION_1.replace(b"models.Model", b"models.Mudel"))
