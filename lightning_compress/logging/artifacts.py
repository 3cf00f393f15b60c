"""Compressed files as versions of an artifact of Weights & Biases, and which versions stay there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from lightning_compress.errors import CallbackError

TYPE = "model"
FILE = "model.safetensors"
Old = Literal["delete", "expire"]
# What we and wandb call a version; one with any other name is somebody's.
_OWN_ALIAS = re.compile(r"latest|best|epoch-\d+|v\d+")


@dataclass(frozen=True)
class Artifacts:
    """How compressed files are uploaded, and which versions stay.

    Args:
        keep: how many of the newest versions stay, besides the best; None keeps all.
        old: ``"delete"``: other versions are deleted; ``"expire"``: they get a time to live, after which the server
            deletes them.
        expire_days: that time, in days since the version was made.
        name: of the artifact; ``compressed-`` and the run's id where it is None.

    Raises:
        CallbackError: a value out of range.
    """

    keep: int | None = 3
    old: Old = "delete"
    expire_days: float = 30.0
    name: str | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and (not isinstance(self.keep, int) or self.keep < 1):
            raise CallbackError(f"Artifacts(keep={self.keep!r}): expected a whole number from 1, or None to keep all")
        if self.old not in get_args(Old):
            raise CallbackError(f"Artifacts(old={self.old!r}) is not known: write 'delete' or 'expire'")
        if not self.expire_days > 0:
            raise CallbackError(f"Artifacts(expire_days={self.expire_days!r}): expected days, more than 0")

    def name_in(self, run: Any) -> str:
        """The artifact's name in a run."""
        return self.name or f"compressed-{run.id}"


def prune_artifacts(path: str, artifacts: Artifacts, *, run: str | None = None) -> list[str]:
    """Delete or expire the versions of an artifact on the server that need not stay; for synced offline runs, too.

    The newest ``keep`` versions stay, those called ``best``, and those that somebody gave a name of their own.

    Args:
        path: ``ENTITY/PROJECT/NAME``.
        artifacts: what stays.
        run: only versions that the run of this id made; all where it is None.

    Returns:
        The versions that were deleted or given a time to live, such as ``v3``.

    Raises:
        Exception: whatever wandb raises: it is not installed, not logged in, the artifact is not there.
    """
    import wandb

    versions = wandb.Api().artifacts(TYPE, path)
    made_by = [version for version in versions if run in (None, (version.metadata or {}).get("run"))]
    gone = superseded(made_by, artifacts.keep)
    for version in gone:
        _retire(version, artifacts)
    return [version.version for version in gone]


def superseded(versions: Iterable[Any], keep: int | None) -> list[Any]:
    """The versions that need not stay, newest first."""
    if keep is None:
        return []
    newest_first: Sequence[Any] = sorted(versions, key=lambda version: int(version.version[1:]), reverse=True)
    return [version for version in newest_first[keep:] if not _is_named(version.aliases)]


def _is_named(aliases: Iterable[str]) -> bool:
    return any(alias == "best" or not _OWN_ALIAS.fullmatch(alias) for alias in aliases)


def _retire(version: Any, artifacts: Artifacts) -> None:
    if artifacts.old == "delete":
        version.delete(delete_aliases=True)
    else:
        version.ttl = timedelta(days=artifacts.expire_days)
        version.save()
