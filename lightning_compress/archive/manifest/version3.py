"""Format version 3: version 2, plus exact hyper-parameters, the module's other checkpoint keys and reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lightning_compress.archive.manifest import fields, version2
from lightning_compress.archive.manifest.spec import Manifest
from lightning_compress.errors import FormatError
from lightning_compress.weights import NotHeldError, dump, parse

_ROW = 8  # values of an entry without a reason
# Keys that version 3 adds or changes, and their default values.
_OPTIONAL: dict[str, Callable[[], Any]] = {
    "checkpoint": str,
    "checkpoint_left_out": list,
    "hparams_name": lambda: None,
    "hyper_parameters": str,
    "reasons": list,
}


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values; keys with default values are left out."""
    body = version2.to_json(replace(manifest, hyper_parameters={}))
    reasons = dict.fromkeys(entry.reason for entry in manifest.entries if entry.reason is not None)
    numbers = {reason: number for number, reason in enumerate(reasons)}
    for entry, row in zip(manifest.entries, body["entries"], strict=True):
        if entry.reason is not None:
            row.append(numbers[entry.reason])
    optional = {
        "checkpoint": _text("checkpoint", manifest.checkpoint),
        "checkpoint_left_out": list(manifest.checkpoint_left_out),
        "hparams_name": manifest.hparams_name,
        "hyper_parameters": _text("hyper_parameters", manifest.hyper_parameters),
        "reasons": list(reasons),
    }
    return body | {key: value for key, value in optional.items() if value != _OPTIONAL[key]()}


def from_json(body: Any) -> Manifest:  # Any: JSON, which the checks below narrow
    """Parse and check the manifest.

    Raises:
        FormatError: it is not what docs/format.md describes.
        VersionError: it uses a dtype, payload or coder that this version does not know.
    """
    full = {key: make() for key, make in _OPTIONAL.items()} | fields.expect("manifest", body, dict)
    reasons = fields.names("reasons", full["reasons"])
    common = {key: value for key, value in body.items() if key not in _OPTIONAL}
    rows: Any = common.get("entries")
    if isinstance(rows, list):
        common["entries"] = [row[:_ROW] if isinstance(row, list) else row for row in rows]
    base = version2.from_json(common)
    return replace(
        base,
        entries=tuple(
            entry if len(row) == _ROW else replace(entry, reason=_reason(row[_ROW:], reasons))
            for entry, row in zip(base.entries, rows, strict=True)
        ),
        checkpoint=_values("checkpoint", full["checkpoint"]),
        checkpoint_left_out=fields.names("checkpoint_left_out", full["checkpoint_left_out"]),
        hparams_name=fields.expect("hparams_name", full["hparams_name"], (str, type(None))),
        hyper_parameters=_values("hyper_parameters", full["hyper_parameters"]),
        format_version=3,
    )


def _reason(numbers: Iterable[Any], reasons: tuple[str, ...]) -> str | None:
    """The reason that the values after the eighth of an entry name."""
    found = list(numbers)
    if not found:
        return None
    if len(found) > 1 or type(found[0]) is not int or not 0 <= found[0] < len(reasons):
        raise FormatError(f"an entry ends in {found!r}, expected the number of one of the {len(reasons)} reasons")
    return reasons[found[0]]


def _text(what: str, values: Mapping[str, Any]) -> str:
    """Named values as text in their order; empty if there are none."""
    try:
        return dump(dict(values)) if values else ""
    except (NotHeldError, RecursionError) as error:
        raise FormatError(f"{what} cannot hold this value: {error}") from error


def _values(what: str, text: object) -> dict[str, Any]:
    given = fields.expect(what, text, str)
    if not given:
        return {}
    try:
        values = parse(given)
    except NotHeldError as error:
        raise FormatError(f"{what} in the manifest is {error}") from error
    if type(values) is not dict or not values or not all(isinstance(name, str) for name in values):
        raise FormatError(f"{what} in the manifest holds no names and values")
    return values
