"""Forged manifests of version 3: false values in the packed form, and frames that a writer would not make."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from forge import Json, canonical, envelope_of, file_of, open_and_verify, packed, packed_envelope, with_header
from tampering import BODY, KEYS, RAW, SMALL, SOUND, TEXT, Case, refused, top, without

from lightning_compress.errors import FormatError, TruncatedError, VersionError


def value(number: int, place: int, new: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number].__setitem__(place, new)


def reverse_names(key: str) -> Callable[[Json], None]:
    """Reverse a list of names, and adapt the numbers in the entries."""

    def tamper(manifest: Json) -> None:
        most = len(manifest[key]) - 1
        manifest[key].reverse()
        for row in manifest["entries"]:
            if key == "coders":
                row[5][::2] = [most - number for number in row[5][::2]]
            else:
                row[3 if key == "classes" else 2] = most - row[3 if key == "classes" else 2]

    return tamper


def with_reason(number: Any) -> Callable[[Json], None]:
    def tamper(manifest: Json) -> None:
        manifest["reasons"] = ["buffer"]
        manifest["entries"][RAW].append(number)

    return tamper


PACKED_CASES: dict[str, Case] = {
    "an entry too short": (lambda manifest: manifest["entries"][RAW].pop(), FormatError, "list of eight"),
    "an entry too long": (lambda manifest: manifest["entries"][RAW].extend([0, 0]), FormatError, r"ends in \[0, 0\]"),
    **{
        f"reason {new!r}": (with_reason(new), FormatError, "one of the 1 reasons")
        for new in (-1, 1, 1 << 70, 0.0, True, None, "buffer", [0])
    },
    "a reason without a list": (lambda manifest: manifest["entries"][RAW].append(0), FormatError, "the 0 reasons"),
    "a reason that no entry gives": (top(reasons=["buffer"]), FormatError, "what a writer makes"),
    "reasons of numbers": (top(reasons=[1]), FormatError, "reasons"),
    **{
        f"{key} {text!r}": (top(**{key: text}), FormatError, key)
        for key in ("hyper_parameters", "checkpoint")
        for text in (7, {"a": 1}, "{", "[]", "7", "{}", '{"a": 1}', '{"a":1,"a":2}', '{"$tuple":[]}', '{"a":{"$no":1}}')
    },
    "hyper-parameters nested without end": (top(hyper_parameters="[" * 100_000), FormatError, "hyper_parameters"),
    "hyper-parameters nested too deep": (
        top(hyper_parameters='{"a":' + 70 * "[" + 70 * "]" + "}"),
        FormatError,
        "nested more than 64",
    ),
    "a whole number without end": (top(checkpoint='{"a":1' + 400 * "0" + "}"), FormatError, "whole number of"),
    "a name that is a number": (top(hparams_name=7), FormatError, "hparams_name"),
    "an entry of text": (lambda m: m["entries"].__setitem__(0, "eight ch"), FormatError, "list of eight"),
    "no streams": (value(RAW, 5, []), FormatError, r"0 values .* expected two each for \['values'\]"),
    "half a stream": (value(RAW, 5, [0]), FormatError, "1 values"),
    "a stream twice": (lambda manifest: manifest["entries"][RAW][5].extend([0, 1]), FormatError, "4 values"),
    "streams of an empty tensor": (value(RAW, 1, [0]), FormatError, r"2 values .* for \[\]"),
    "streams as an object": (value(RAW, 5, {}), FormatError, "streams"),
    "more bytes than the file": (value(RAW, 5, [0, 100_000]), TruncatedError, "describes"),
    "fewer bytes than the file": (value(RAW, 5, [0, 1]), FormatError, "follow the last stream"),
    **{
        f"number {new!r} at {place}": (value(RAW, place, new), FormatError, "names number")
        for place in (2, 3)
        for new in (-1, 3, 1 << 70, 1.0, True, None, "float32", [0])
    },
    **{
        f"coder {new!r}": (value(RAW, 5, [new, 31]), FormatError, "names number .* coders")
        for new in (-1, 30, 1.0, True, None, "packed", [0])
    },
    "an unknown coder": (lambda manifest: manifest["coders"].__setitem__(0, "wavelet"), VersionError, "'wavelet'"),
    "an unknown dtype": (lambda manifest: manifest["dtypes"].__setitem__(0, "float3"), VersionError, "'float3'"),
    **{
        f"{key} are {new!r}": (lambda m, key=key, new=new: m.update({key: new}), FormatError, key)
        for key in ("classes", "coders", "dtypes")
        for new in ("names", None, {}, [1])
    },
    **{f"no {key}": (without(key), FormatError, "keys") for key in ("entries", "classes", "coders", "dtypes")},
    "another key": (top(code="print()"), FormatError, "keys"),
    "a version inside": (top(format_version=3), FormatError, "keys"),
    **{
        f"checksums {new!r}": (value(RAW, 7, new), FormatError, "checksum")
        for new in (None, 7, "", "0" * 15, "0" * 17, "0" * 15 + "G", "A" * 16, ["0" * 16])
    },
    # valid content that a writer would write differently
    "a default that is given": (top(metrics={}), FormatError, "what a writer makes"),
    "no class path": (top(class_path=None), FormatError, "what a writer makes"),
    "a name that no entry gives": (lambda m: m["classes"].append("decoder"), FormatError, "what a writer makes"),
    "a coder that no entry gives": (lambda m: m["coders"].append("stored"), FormatError, "what a writer makes"),
    "a name twice in a list": (lambda m: m["dtypes"].append("float32"), FormatError, "what a writer makes"),
    "dtypes in another order": (reverse_names("dtypes"), FormatError, "what a writer makes"),
    "coders in another order": (reverse_names("coders"), FormatError, "what a writer makes"),
    # assets
    "an asset too short": (lambda manifest: manifest["assets"][0].pop(), FormatError, "list of five"),
    "an asset of an object": (top(assets=[{"name": "words"}]), FormatError, "list of five"),
    "an asset twice": (lambda m: m["assets"].append(m["assets"][0]), FormatError, "twice"),
}


@pytest.mark.parametrize("case", PACKED_CASES)
def test_forged_values_in_the_packed_manifest_are_refused(case: str) -> None:
    tamper, error, message = PACKED_CASES[case]
    manifest = packed(SOUND)
    assert with_header(packed_envelope(canonical(manifest)), SMALL, BODY) == file_of(SOUND)
    tamper(manifest)
    refused(with_header(packed_envelope(canonical(manifest)), SMALL, BODY), error, message)


def _frame(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


ENVELOPES: dict[str, tuple[str, str]] = {
    "white space": (packed_envelope(TEXT.replace('":', '": ', 1)), "what a writer makes"),
    "a key twice": (packed_envelope(TEXT.replace("{", '{"class_path":"evil",', 1)), "what a writer makes"),
    "keys in another order": (
        packed_envelope(json.dumps(dict(reversed(json.loads(TEXT).items())), separators=(",", ":"))),
        "what a writer makes",
    ),
    "escaped letters": (packed_envelope(TEXT.replace("models.Model", "\\u006dodels.Model")), "what a writer makes"),
    "minus zero": (packed_envelope(TEXT.replace('"offset":5', '"offset":-0')), "what a writer makes"),
    "half a surrogate pair": (packed_envelope(TEXT.replace("models.Model", "\\ud800")), "cannot hold"),
    "half a pair in UTF-8": (packed_envelope(TEXT.replace("models.Model", "\ud800")), "damaged"),
    "not UTF-8": (packed_envelope(TEXT.encode("utf-16")), "damaged"),
    "no JSON": (packed_envelope("manifest"), "not JSON"),
    "nothing": (packed_envelope(""), "not JSON"),
    "a list": (packed_envelope("[]"), "list"),
    "nested without end": (packed_envelope("[" * 200_000), "not JSON"),
    "no frame": (packed_envelope("", b"no frame at all"), "damaged"),
    "an empty frame": (packed_envelope("", b""), "damaged"),
    "a frame of unknown size": (
        packed_envelope("", _frame(TEXT.encode(), write_content_size=False)),
        "announces no size",
    ),
    "a frame cut off": (packed_envelope("", _frame(TEXT.encode())[:-5]), "damaged"),
    "two frames": (packed_envelope("", 2 * _frame(TEXT.encode())), "damaged"),
    "a frame with bytes behind it": (packed_envelope("", _frame(TEXT.encode()) + b"x"), "damaged"),
    "a bomb": (packed_envelope("", _frame(b" " * 50_000_000)), "announces 50000000 bytes, expected at most"),
    "a bomb with a false size": (
        packed_envelope("", b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff" + bytes(9)),
        "announces 4294967295",
    ),
    "no packed manifest": (envelope_of('{"format_version":3}'), "keys"),
    "a packed manifest of a number": (envelope_of('{"format_version":3,"zstd":7}'), "keys"),
    "a packed manifest and more": (envelope_of('{"extra":0,"format_version":3,"zstd":""}'), "keys"),
    "a digit that is none": (envelope_of('{"format_version":3,"zstd":"000 0"}'), "damaged"),
    "a digit beyond ASCII": (envelope_of('{"format_version":3,"zstd":"0000ä"}'), "damaged"),
    "a group beyond 32 bits": (envelope_of('{"format_version":3,"zstd":"~~~~~"}'), "damaged"),
    "one digit at the end": (packed_envelope(TEXT).replace('"}', '0"}', 1), "checksum"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_manifest_that_a_writer_would_pack_otherwise_isrefused(name: str) -> None:
    envelope, message = ENVELOPES[name]
    data = with_header(envelope, SMALL, BODY)
    with pytest.raises(FormatError, match=message):
        open_and_verify(data)


def test_base_85_text_other_than_the_writers_isrefused() -> None:
    """Several last digits can stand for the same bytes."""
    notes = ["x" * length for length in range(1, 9)]
    frames = [_frame(TEXT.replace("models.Model", note).encode()) for note in notes]
    frame = next(frame for frame in frames if len(frame) % 4)
    text = base64.b85encode(frame).decode()
    other = next(
        t for t in (text[:-1] + d for d in "0123456789abcdefghij") if t != text and base64.b85decode(t) == frame
    )
    for digits, message in ((other, "not written as a writer"), (text, "header does not agree")):
        envelope = envelope_of(canonical({"format_version": 3, "zstd": digits}))
        with pytest.raises(FormatError, match=message):
            open_and_verify(with_header(envelope, KEYS, BODY))
