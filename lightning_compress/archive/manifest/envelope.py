"""The envelope: the text in the file's metadata that holds the manifest and its checksum."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

from lightning_compress.archive.manifest import version1, version2, version3, version4
from lightning_compress.archive.manifest.spec import FORMAT_VERSION, MAX_HEADER_BYTES, Manifest, Part
from lightning_compress.errors import ChecksumError, FormatError, VersionError
from lightning_compress.runtime import FrameError, compressed, decompressed

_LEVEL = 19
_LEAST_LIMIT = 1 << 20
_EXPANSION = 16
_LEAST_COUNT = 10_000
_BYTES_OF_RECORD = 4  # packed; the checksums of a tensor alone take eight
_PACKED: Mapping[int, ModuleType] = MappingProxyType({2: version2, 3: version3, 4: version4})
_RECORDS: Mapping[int, Callable[[Manifest], list[Part]]] = MappingProxyType(
    {1: version1.records, 2: version2.records, 3: version2.records, 4: version4.records}
)


def to_envelope(manifest: Manifest) -> str:
    """The envelope of a manifest, in the newest version of the format.

    Raises:
        FormatError: JSON cannot hold a value, or the manifest is more repetitive than a reader accepts.
    """
    plain = text_of(manifest).encode()
    packed = compressed(plain, _LEVEL)
    if len(plain) > _limit(packed):
        raise FormatError(
            f"the manifest has {len(plain)} bytes of so much repetition that a reader would take it for an attack: "
            "leave out some hyper-parameters or metrics, or shorten the names of tensors"
        )
    _check_count(len(manifest.entries) + len(manifest.ties) + len(manifest.assets), packed)
    body = {"format_version": FORMAT_VERSION, "zstd": base64.b85encode(packed).decode()}
    return canonical({"manifest": body, "sha256": _digest(body)})


def text_of(manifest: Manifest) -> str:
    """The text of a manifest, in the newest version of the format; equal manifests have equal texts.

    Raises:
        FormatError: JSON cannot hold a value.
    """
    return canonical(version4.to_json(manifest))


def from_envelope(text: str) -> Manifest:
    """Parse and check the manifest of a file of any version.

    Raises:
        FormatError: it is not what docs/format.md describes.
        ChecksumError: its bytes were changed.
        VersionError: it is of a newer format, or uses a dtype, payload or coder that this version does not know.
    """
    envelope = _parsed("metadata", text)
    if not isinstance(envelope, dict) or set(envelope) != {"manifest", "sha256"}:
        raise FormatError("the metadata holds no manifest with its checksum")
    body = envelope["manifest"]
    if _digest(body) != envelope["sha256"]:
        raise ChecksumError("the manifest does not have its checksum: the file was damaged or edited")
    version = body.get("format_version") if isinstance(body, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise VersionError(
            f"the file has format version {version}, this package reads up to {FORMAT_VERSION}: "
            "update lightning-compress"
        )
    if type(version) is not int or version not in (1, *_PACKED):
        raise FormatError(f"the manifest has format version {version!r}, expected a whole number from 1")
    if canonical(envelope) != text:
        raise FormatError("the metadata is not JSON as a writer makes it: keys sorted, no white space, nothing twice")
    if version == 1:
        return version1.from_json(body)
    packed, plain = _unpacked(body)
    parsed = _parsed("manifest", plain)
    _check_count(_count(parsed), packed)
    manifest: Manifest = _PACKED[version].from_json(parsed)
    if canonical(_PACKED[version].to_json(manifest)) != plain:
        raise FormatError("the packed manifest is not what a writer makes of what it says")
    return manifest


def records_of(manifest: Manifest) -> list[Part]:
    """Every tensor of a safetensors file with this manifest and its format version, in the order of the file."""
    return _RECORDS[manifest.format_version](manifest)


def canonical(value: object) -> str:
    """JSON with sorted keys and no white space: equal values give equal text.

    Raises:
        FormatError: JSON cannot hold a value (NaN, infinity, objects), or UTF-8 cannot (half a surrogate pair).
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"the manifest cannot hold this value: {error}") from error
    return text


def _parsed(what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the {what} is not JSON: {error}") from error


def _digest(body: object) -> str:
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def _limit(packed: bytes) -> int:
    """The largest accepted size of an unpacked manifest: far above real manifests, but too small for a bomb."""
    return min(_LEAST_LIMIT + _EXPANSION * len(packed), MAX_HEADER_BYTES)


def _count(parsed: object) -> int:
    """How many tensors, ties and assets a manifest describes, whose records are not checked yet."""
    given = [parsed.get(key) for key in ("entries", "ties", "assets")] if isinstance(parsed, dict) else []
    return sum(len(records) for records in given if isinstance(records, (list, dict)))


def _check_count(count: int, packed: bytes) -> None:
    """Bound the records, each of which takes time to check: what is no repetition takes more bytes than this.

    Raises:
        FormatError: there are more.
    """
    most = _LEAST_COUNT + len(packed) // _BYTES_OF_RECORD
    if count > most:
        raise FormatError(
            f"the manifest describes {count} tensors, ties and assets in {len(packed)} packed bytes, expected at most "
            f"{most}: join tensors that are alike"
        )


def _unpacked(body: dict[str, Any]) -> tuple[bytes, str]:
    """The packed manifest and its text; its size is checked before it is unpacked."""
    if set(body) != {"format_version", "zstd"} or not isinstance(body["zstd"], str):
        raise FormatError(f"the packed manifest has the keys {sorted(body)}, expected its version and packed text")
    try:
        packed = base64.b85decode(body["zstd"])
        text = decompressed(packed, _limit(packed)).decode()
    except (ValueError, FrameError) as error:
        raise FormatError(f"the packed manifest is damaged: {error}") from error
    if base64.b85encode(packed).decode() != body["zstd"]:
        raise FormatError("the packed manifest is not written as a writer writes it")
    return packed, text
