"""Reads the YAML text of a plan: plain values alone, and no more of them than a plan needs."""

from __future__ import annotations

from typing import Any

import yaml

from lightning_compress.errors import PlanError

_MAX_CHARACTERS = 1 << 24
_MAX_ALIASES = 1_000
_MAX_DEPTH = 50
_SHOWN = 300  # characters of a message of the YAML library
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
    """Raise a PlanError for tags that make other objects, for too much depth, and for aliases inside anchors."""
    depth, aliases = 0, 0
    anchored_at: list[int] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        tag = getattr(event, "tag", None)
        if tag and tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN and tag != "!":
            raise PlanError(f"the plan has the tag {tag[:80]!r}, expected numbers, text, lists and mappings")
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if anchored_at or aliases > _MAX_ALIASES:
                raise PlanError("the plan has too many aliases, or one inside an anchor: write the values themselves")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if event.anchor:
                anchored_at.append(depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            if anchored_at and anchored_at[-1] == depth:
                anchored_at.pop()
            depth -= 1
        if depth > _MAX_DEPTH:
            raise PlanError(f"the plan is nested more than {_MAX_DEPTH} levels deep")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
