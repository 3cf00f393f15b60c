"""Forged manifests with valid checksums: each is refused when the file is opened, before anything is decoded."""

from __future__ import annotations

import pytest
from each_case import naming
from forge import forged, manifest_of
from tampering import (
    HALF,
    INDEXED,
    RAW,
    SOUND,
    Case,
    asset,
    chain,
    entry,
    outliers,
    payload,
    refused,
    repeat_entry,
    repeat_stream,
    stream,
    swap_streams,
    tie,
    top,
    without,
)

from lightning_compress.errors import FormatError, TruncatedError, VersionError

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
    "newer format": (top(format_version=5), VersionError, "format version 5, .* update"),
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
    "half a surrogate pair": (entry(RAW, name="\ud800"), FormatError, "cannot hold|not JSON"),
    "half a pair in a value": (top(hyper_parameters={"name": "\udfff"}), FormatError, "cannot hold|not JSON"),
    "not a number": (top(metrics={"bleu": float("nan")}), FormatError, "cannot hold|not JSON"),
    "infinity": (top(metrics={"bleu": float("inf")}), FormatError, "cannot hold|not JSON"),
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


# Cases that version 3 cannot express: it has no such keys, or leaves out default values.
ONLY_VERSION_1 = {f"manifest without {key}" for key in manifest_of(SOUND) if key not in ("entries", "format_version")}
ONLY_VERSION_1 |= {"entry with another key", "entry without a key", "half a surrogate pair", "half a pair in a value"}
ONLY_VERSION_1 |= {"no streams", "streams in another order", "a stream of another name", "asset stream of another name"}
ONLY_VERSION_1 |= {"a stream record too short", "a stream record as an object", "streams of an empty tensor"}


@pytest.mark.parametrize("version", [1, 2, 4])
def test_forged_values_are_refused_on_opening(version: int) -> None:
    for case, (tamper, error, message) in CASES.items():
        if version == 1 or case not in ONLY_VERSION_1:
            with naming(case):
                refused(forged(SOUND, tamper, version), error, message)
