"""Reads the YAML text of a plan: plain values alone, and no more of them than a plan needs."""

from __future__ import annotations

import re
from typing import Any

import yaml

from lightning_compress.errors import PlanError

_MAX_CHARACTERS = 1 << 24
_MAX_VALUES = 100_000  # with those that aliases stand for
_MAX_NUMBER = 64  # characters
_MAX_BITS = 1_000  # of a whole number, which is then a floating-point number too
_MAX_DEPTH = 50
_SHOWN = 300  # characters of a message of the YAML library
_NUMBER = re.compile(r"[-+]?[0-9a-fA-FxXoO_.:+-]*", re.ASCII)
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map", "merge")


def read_yaml(text: str) -> Any:
    """The plain data of a plan.

    An alias stands for the value of its anchor, but an anchored value may hold no alias: nested aliases can make a
    small text stand for any number of values.

    Raises:
        PlanError: it is no YAML, holds other values than numbers, text, lists and mappings, or is too large or deep.
    """
    if len(text) > _MAX_CHARACTERS:
        raise PlanError(f"the plan has {len(text)} characters, expected at most {_MAX_CHARACTERS}")
    try:
        _check_events(text)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(
            f"the plan is not YAML: {_short(error)}. Patterns with a * stand in quotes: tensors: '*.bias'"
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise PlanError(f"the plan holds a value that YAML cannot read: {_short(error)}") from error


def _check_events(text: str) -> None:
    """Raise a PlanError for tags that make other objects, for too much depth, many values, or aliases in anchors."""
    depth, values = 0, 0
    anchored_at: list[tuple[str, int, int]] = []  # name, depth, and number of values before
    sizes: dict[str, int] = {}
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        tag = getattr(event, "tag", None)
        if tag and tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN and tag != "!":
            raise PlanError(f"the plan has the tag {tag[:80]!r}, expected numbers, text, lists and mappings")
        if isinstance(event, yaml.AliasEvent):
            values += sizes.get(str(event.anchor), 1)
            if anchored_at:
                raise PlanError("the plan has an alias inside an anchor: write the values themselves")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            values += 1
            if event.anchor:
                anchored_at.append((event.anchor, depth, values))
        elif isinstance(event, yaml.CollectionEndEvent):
            if anchored_at and anchored_at[-1][1] == depth:
                name, _, before = anchored_at.pop()
                sizes[name] = 1 + values - before
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            length = len(event.value)
            if length > _MAX_NUMBER and event.implicit[0] and _NUMBER.fullmatch(event.value):
                raise PlanError(f"the plan has a number of {length} characters, expected at most {_MAX_NUMBER}")
        if values > _MAX_VALUES:
            raise PlanError(f"the plan has more than {_MAX_VALUES} values, those of aliases included")
        if depth > _MAX_DEPTH:
            raise PlanError(f"the plan is nested more than {_MAX_DEPTH} levels deep")


def check_numbers(value: object) -> None:
    """Raise a PlanError for a whole number in plain data that is too large for arithmetic."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, int) and item.bit_length() > _MAX_BITS:
            raise PlanError(f"the plan has a whole number of {item.bit_length()} bits, expected at most {_MAX_BITS}")
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, (list, tuple)):
            pending += item


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
