"""Forged manifests with valid checksums: each is refused when the file is opened, before anything is decoded."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from forge import (
    Json,
    canonical,
    codes_of,
    envelope_of,
    file_of,
    forged,
    keys_of,
    manifest_of,
    open_and_verify,
    packed,
    packed_envelope,
    sound,
    with_header,
    with_text,
)

from lightning_compress.archive import reader
from lightning_compress.errors import ChecksumError, FormatError, TruncatedError, VersionError

SOUND = sound()
VERSION_1 = forged(SOUND, lambda manifest: None, 1)
BODY = b"".join(codes_of(SOUND).values())
KEYS = keys_of(manifest_of(SOUND))
SMALL = [("#small", len(BODY))]
RAW, HALF, INDEXED = range(3)
Case = tuple[Callable[[Json], Any], type[FormatError], str]


def entry(number: int, **changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number].update(changes)


def payload(number: int, **changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number]["payload"].update(changes)


def outliers(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][INDEXED]["payload"]["outliers"].update(changes)


def stream(number: int, field: int, value: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["entries"][number]["streams"][0].__setitem__(field, value)


def tie(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["ties"]["tied"].update(changes)


def asset(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest["assets"][0].update(changes)


def top(**changes: Any) -> Callable[[Json], None]:
    return lambda manifest: manifest.update(changes)


def without(*path: str | int) -> Callable[[Json], None]:
    def remove(manifest: Json) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return remove


def repeat_entry(manifest: Json) -> None:
    manifest["entries"].append(manifest["entries"][0])


def swap_streams(manifest: Json) -> None:
    manifest["entries"][HALF]["streams"].reverse()


def repeat_stream(manifest: Json) -> None:
    manifest["entries"][RAW]["streams"] *= 2


def chain(manifest: Json) -> None:
    manifest["ties"]["second"] = {"of": "tied", "offset": 0, "shape": [1], "stride": [1]}


NOT_SIZES = [-1, 2.0, True, "5", None, [5], 1 << 48 | 1, 1 << 63, 1 << 64, 10**30]
NOT_COUNTS = [-1, 2.0, True, "1", None, [1], 41, 1 << 63]
CASES: dict[str, Case] = {
    # sizes that no memory holds
    "huge shape": (entry(RAW, shape=[1 << 40]), FormatError, "would restore to 4398046\\d+ bytes, more than the limit"),
    "huge half": (entry(HALF, shape=[1 << 20, 1 << 20]), FormatError, "would restore"),
    "huge indexed": (entry(INDEXED, shape=[1 << 47]), FormatError, "would restore"),
    "just too large": (entry(RAW, shape=[1 << 28]), FormatError, "would restore"),
    "huge product": (entry(RAW, shape=[1 << 47, 1 << 47]), FormatError, "larger than any tensor"),
    "huge and empty": (entry(RAW, shape=[1 << 40, 1 << 40, 0], streams=[]), FormatError, "larger than any tensor"),
    "65 dimensions": (entry(RAW, shape=[1] * 65), FormatError, "larger than any tensor"),
    "huge asset": (asset(bytes=1 << 40), FormatError, "would restore"),
    "huge tie": (tie(shape=[1 << 40], stride=[0]), FormatError, "would restore"),
    **{f"shape of {size!r}": (entry(RAW, shape=[8, size]), FormatError, "shape") for size in NOT_SIZES},
    **{f"shape is {value!r}": (entry(RAW, shape=value), FormatError, "shape") for value in (40, "40", None, {"0": 40})},
    # what this version does not know
    "newer format": (top(format_version=3), VersionError, "format version 3, .* update"),
    "much newer format": (top(format_version=10**30), VersionError, "update lightning-compress"),
    **{f"version {v!r}": (top(format_version=v), FormatError, "version") for v in (0, -1, True, "1", 1.0, None, [1])},
    "unknown dtype": (entry(RAW, dtype="float3"), VersionError, "'raw' has dtype 'float3'"),
    "dtype of torch": (entry(RAW, dtype="strided"), VersionError, "dtype"),
    "quantized dtype": (entry(RAW, dtype="qint8"), VersionError, "dtype"),
    "unknown payload": (payload(RAW, kind="quantum"), VersionError, "kind 'quantum', this version knows raw"),
    "unknown coder": (stream(RAW, 1, "arithmetic"), VersionError, "coder 'arithmetic', this version knows stored"),
    "unknown asset coder": (asset(stream=["bytes", "brotli", 18, "00000000"]), VersionError, "brotli"),
    **{f"dtype is {value!r}": (entry(RAW, dtype=value), FormatError, "dtype") for value in (None, 7, ["float32"], {})},
    **{f"kind is {value!r}": (payload(RAW, kind=value), FormatError, "kind") for value in (None, 7, ["raw"], {})},
    **{f"coder is {value!r}": (stream(RAW, 1, value), FormatError, "coder") for value in (None, 7, ["stored"], {})},
    # records of another form
    "entries is an object": (top(entries={}), FormatError, "entries"),
    "entry is a list": (top(entries=[[]]), FormatError, "entry"),
    "entry with another key": (entry(RAW, extra=1), FormatError, "keys"),
    "entry without a key": (without("entries", RAW, "zeros"), FormatError, "keys"),
    "manifest with another key": (top(code="print()"), FormatError, "keys"),
    **{f"manifest without {key}": (without(key), FormatError, "keys|version") for key in manifest_of(SOUND)},
    **{f"{key} is a number": (top(**{key: 7}), FormatError, key) for key in manifest_of(SOUND) if "version" not in key},
    "name is a number": (entry(RAW, name=5), FormatError, "name"),
    "class is null": (entry(RAW, **{"class": None}), FormatError, "class"),
    "payload is a list": (entry(RAW, payload=["raw"]), FormatError, "payload"),
    "excluded numbers": (top(excluded=[1]), FormatError, "excluded"),
    "hyper-parameter names": (top(hyper_parameters_left_out=[None]), FormatError, "left_out"),
    "zeros beyond the elements": (entry(RAW, zeros=41), FormatError, "41 of them are 0"),
    **{f"zeros is {v!r}": (entry(RAW, zeros=v), FormatError, "zeros") for v in (-1, 1.0, True, None)},
    **{
        f"crc is {v!r}": (entry(RAW, crc32=v), FormatError, "checksum")
        for v in (7, None, "", "ABCDEF01", "0" * 9, "zzzzzzzz")
    },
    # streams
    "no streams": (entry(RAW, streams=[]), FormatError, r"expected \['values'\]"),
    "streams in another order": (swap_streams, FormatError, "expected"),
    "a stream twice": (repeat_stream, FormatError, "expected"),
    "a stream of another name": (stream(RAW, 0, "weights"), FormatError, "expected"),
    "a stream record too short": (entry(RAW, streams=[["values", "stored", 160]]), FormatError, "expected name, coder"),
    "a stream record as an object": (entry(RAW, streams=[{"name": "values"}]), FormatError, "expected name, coder"),
    "streams of an empty tensor": (entry(RAW, shape=[0], zeros=0), FormatError, r"expected \[\]"),
    "more bytes than the file": (stream(INDEXED, 2, 100_000), TruncatedError, "describes"),
    "fewer bytes than the file": (stream(RAW, 2, 1), FormatError, "follow the last stream"),
    "no bytes": (stream(RAW, 2, 0), FormatError, "follow the last stream"),
    **{
        f"bytes is {v!r}": (stream(RAW, 2, v), FormatError, "bytes|header")
        for v in (-1, 12.0, True, "12", None, 1 << 60)
    },
    # names
    "a name twice": (repeat_entry, FormatError, "twice"),
    "a tie of a stored name": (
        top(ties={"raw": {"of": "half", "offset": 0, "shape": [1], "stride": [1]}}),
        FormatError,
        "twice",
    ),
    "half a surrogate pair": (entry(RAW, name="\ud800"), FormatError, "cannot hold"),
    "half a pair in a value": (top(hyper_parameters={"name": "\udfff"}), FormatError, "cannot hold"),
    "not a number": (top(metrics={"bleu": float("nan")}), FormatError, "cannot hold"),
    "infinity": (top(metrics={"bleu": float("inf")}), FormatError, "cannot hold"),
    # ties
    "tie to nothing": (tie(of="nothing"), FormatError, "no stored tensor"),
    "tie to itself": (tie(of="tied"), FormatError, "no stored tensor"),
    "tie to a tie": (chain, FormatError, "'second' is tied to 'tied'"),
    "tie to an asset": (tie(of="words"), FormatError, "no stored tensor"),
    "tie beyond the end": (tie(offset=31), FormatError, "beyond its elements"),
    "tie at the end": (tie(offset=40, shape=[], stride=[]), FormatError, "beyond its elements"),
    "empty tie at the end": (tie(offset=40, shape=[0], stride=[1]), FormatError, "beyond its elements"),
    "tie in long steps": (tie(stride=[40, 1]), FormatError, "beyond its elements"),
    "tie of too many strides": (tie(stride=[5, 1, 1]), FormatError, "2 sizes and 3 strides"),
    "tie is a list": (top(ties={"tied": ["raw", 0, [], []]}), FormatError, "tie"),
    "ties is a list": (top(ties=[]), FormatError, "ties"),
    **{f"tie from {v!r}": (tie(offset=v), FormatError, "offset") for v in (-1, 0.0, True, "0", None, 1 << 64)},
    **{
        f"tie in steps of {v!r}": (tie(stride=[v, 1]), FormatError, "stride")
        for v in (-5, 5.0, True, "5", None, 1 << 64)
    },
    # half
    **{
        f"half in {v!r}": (payload(HALF, format=v), FormatError, "format|type")
        for v in ("float8", None, 7, ["bfloat16"], {})
    },
    **{f"{v!r} escapes": (payload(HALF, escapes=v), FormatError, "escapes") for v in NOT_COUNTS},
    "no escapes": (payload(HALF, escapes=0), FormatError, "expected"),
    **{
        f"half of {d}": (entry(HALF, dtype=d), FormatError, "half payload")
        for d in ("float16", "int32", "bool", "complex64")
    },
    # indexed
    **{f"first is {v!r}": (payload(INDEXED, first=v), FormatError, "codebook") for v in (None, 1, "0.5", [0.5], True)},
    **{f"step is {v!r}": (payload(INDEXED, step=v), FormatError, "codebook") for v in (None, 1, "0.5", [0.5], True)},
    **{
        f"{v!r} levels": (payload(INDEXED, levels=v), FormatError, "levels")
        for v in (-1, 65537, 8.0, True, "8", None, [8])
    },
    **{
        f"outliers are {v!r}": (payload(INDEXED, outliers=v), FormatError, "outliers") for v in (None, [], 3, "raw", {})
    },
    "outliers in outliers": (outliers(kind="indexed"), FormatError, "known kind"),
    "outliers of a list": (outliers(kind=["half"]), FormatError, "type|kind"),
    **{f"{v!r} outliers": (outliers(count=v), FormatError, "count") for v in NOT_COUNTS},
    "no outliers": (outliers(count=0, escapes=0), FormatError, "expected"),
    **{f"{v!r} outlier escapes": (outliers(escapes=v), FormatError, "escapes") for v in NOT_COUNTS},
    **{
        f"indices of {d}": (entry(INDEXED, dtype=d), FormatError, "indexed")
        for d in ("int32", "bool", "complex64", "uint8")
    },
    # assets
    "asset without a name": (asset(name=None), FormatError, "name"),
    "asset twice": (lambda manifest: manifest["assets"].append(manifest["assets"][0]), FormatError, "twice|describes"),
    "asset stream of another name": (
        asset(stream=["values", "stored", 18, "00000000"]),
        FormatError,
        "expected 'bytes'",
    ),
    **{f"asset of {v!r} bytes": (asset(bytes=v), FormatError, "bytes") for v in (-1, 32.0, True, "32", None)},
    "asset is a list": (top(assets=[["words"]]), FormatError, "asset"),
}


# Cases that version 2 cannot express: it has no such keys, or leaves out default values.
ONLY_VERSION_1 = {f"manifest without {key}" for key in manifest_of(SOUND) if key not in ("entries", "format_version")}
ONLY_VERSION_1 |= {"entry with another key", "entry without a key", "half a surrogate pair", "half a pair in a value"}
ONLY_VERSION_1 |= {"no streams", "streams in another order", "a stream of another name", "asset stream of another name"}
ONLY_VERSION_1 |= {"a stream record too short", "a stream record as an object", "streams of an empty tensor"}


@pytest.mark.parametrize("case", CASES)
def test_forged_values_in_version_1_are_refused_on_opening(case: str) -> None:
    tamper, error, message = CASES[case]
    _refused(forged(SOUND, tamper, 1), error, message)


@pytest.mark.parametrize("case", [case for case in CASES if case not in ONLY_VERSION_1])
def test_forged_values_in_version_2_are_refused_on_opening(case: str) -> None:
    tamper, error, message = CASES[case]
    _refused(forged(SOUND, tamper, 2), error, message)


def _refused(data: bytes, error: type[FormatError], message: str) -> None:
    """Opening raises this error, and allocates little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message) as caught:
            reader.parse(memoryview(data), "file")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert type(caught.value) is error
    assert str(caught.value).startswith("file")


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


PACKED_CASES: dict[str, Case] = {
    "an entry too short": (lambda manifest: manifest["entries"][RAW].pop(), FormatError, "list of eight"),
    "an entry too long": (lambda manifest: manifest["entries"][RAW].append(0), FormatError, "list of eight"),
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
    "a version inside": (top(format_version=2), FormatError, "keys"),
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
    _refused(with_header(packed_envelope(canonical(manifest)), SMALL, BODY), error, message)


def _frame(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


TEXT = canonical(packed(SOUND))
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
    "a frame of unknown size": (packed_envelope("", _frame(TEXT.encode(), write_content_size=False)), "announces -1"),
    "a frame cut off": (packed_envelope("", _frame(TEXT.encode())[:-5]), "damaged"),
    "two frames": (packed_envelope("", 2 * _frame(TEXT.encode())), "damaged"),
    "a frame with bytes behind it": (packed_envelope("", _frame(TEXT.encode()) + b"x"), "damaged"),
    "a bomb": (packed_envelope("", _frame(b" " * 50_000_000)), "announces 50000000 bytes, expected at most"),
    "a bomb with a false size": (
        packed_envelope("", b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff" + bytes(9)),
        "announces 4294967295",
    ),
    "no packed manifest": (envelope_of('{"format_version":2}'), "keys"),
    "a packed manifest of a number": (envelope_of('{"format_version":2,"zstd":7}'), "keys"),
    "a packed manifest and more": (envelope_of('{"extra":0,"format_version":2,"zstd":""}'), "keys"),
    "a digit that is none": (envelope_of('{"format_version":2,"zstd":"000 0"}'), "damaged"),
    "a digit beyond ASCII": (envelope_of('{"format_version":2,"zstd":"0000ä"}'), "damaged"),
    "a group beyond 32 bits": (envelope_of('{"format_version":2,"zstd":"~~~~~"}'), "damaged"),
    "one digit at the end": (packed_envelope(TEXT).replace('"}', '0"}', 1), "checksum"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_manifest_that_a_writer_would_pack_otherwise_is_refused(name: str) -> None:
    envelope, message = ENVELOPES[name]
    data = with_header(envelope, SMALL, BODY)
    with pytest.raises(FormatError, match=message):
        open_and_verify(data)


def test_base_85_text_other_than_the_writers_is_refused() -> None:
    """Several last digits can stand for the same bytes."""
    notes = ["x" * length for length in range(1, 9)]
    frames = [_frame(TEXT.replace("models.Model", note).encode()) for note in notes]
    frame = next(frame for frame in frames if len(frame) % 4)
    text = base64.b85encode(frame).decode()
    other = next(
        t for t in (text[:-1] + d for d in "0123456789abcdefghij") if t != text and base64.b85decode(t) == frame
    )
    for digits, message in ((other, "not written as a writer"), (text, "header does not agree")):
        envelope = envelope_of(canonical({"format_version": 2, "zstd": digits}))
        with pytest.raises(FormatError, match=message):
            open_and_verify(with_header(envelope, KEYS, BODY))


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
