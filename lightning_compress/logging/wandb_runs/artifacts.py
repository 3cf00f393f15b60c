"""Which compressed files are artifacts of Weights & Biases, and which of their versions are kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol, TypeVar, get_args

from lightning_compress.errors import CallbackError
from lightning_compress.logging.logger_types import WandbRun

TYPE = "model"
FILE = "model.compressed.safetensors"
Old = Literal["delete", "expire"]
Version = TypeVar("Version", bound="ArtifactVersion")
# The aliases that wandb or this package gives to a version. A version with any other alias was named by a user.
_AUTOMATIC_ALIAS = re.compile(r"latest|best|epoch-\d+|v\d+")
_NAME = re.compile(r"[a-zA-Z0-9_\-.]{1,128}")
_PATH = re.compile(r"[^/]+/[^/]+/[^/]+")
_MOST_DAYS = 36_500


@dataclass(frozen=True)
class Artifacts:
    """How compressed files are uploaded, and which versions are kept.

    Args:
        keep: the number of newest versions to keep, besides the best; None keeps all.
        old: ``"delete"`` deletes the other versions; ``"expire"`` gives them a time to live, after which the server
            deletes them.
        expire_days: this time to live, in days since the version was created.
        name: of the artifact; by default ``compressed-`` and the run's id.

    Raises:
        CallbackError: a value is out of range.
    """

    keep: int | None = 3
    old: Old = "delete"
    expire_days: float = 30.0
    name: str | None = None

    def __post_init__(self) -> None:
        if self.keep is not None and (type(self.keep) is not int or self.keep < 1):
            raise CallbackError(f"Artifacts(keep={self.keep!r}): expected a whole number from 1, or None to keep all")
        if self.old not in get_args(Old):
            raise CallbackError(f"Artifacts(old={self.old!r}) is not known: write 'delete' or 'expire'")
        days = self.expire_days
        if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0 < days <= _MOST_DAYS:
            raise CallbackError(f"Artifacts(expire_days={days!r}): expected days, more than 0, at most {_MOST_DAYS}")
        if self.name is not None and not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise CallbackError(
                f"Artifacts(name={self.name!r:.200}): expected 1 to 128 letters, digits, '-', '_' and '.', which wandb "
                "accepts, or None"
            )

    def name_in(self, run: WandbRun) -> str:
        """The name of the artifact that holds the files of a run."""
        return self.name or f"compressed-{run.id}"


def prune_artifacts(path: str, artifacts: Artifacts, *, run: str | None = None) -> list[str]:
    """Delete or expire the versions of an artifact on the server that are not to be kept.

    During an online run this happens by itself; call it after syncing a run that was made offline. The newest ``keep``
    versions are kept, and so is every version with the alias ``best`` or an alias that a user gave it.

    Args:
        path: ``ENTITY/PROJECT/NAME``.
        artifacts: which versions are kept.
        run: the id of a run, to consider only the versions that it created; None considers all.

    Returns:
        The versions that were deleted or given a time to live, such as ``v3``.

    Raises:
        CallbackError: an argument is wrong.
        Exception: whatever wandb raises: it is not installed, not logged in, or the artifact does not exist.
    """
    if not (isinstance(path, str) and _PATH.fullmatch(path)):
        raise CallbackError(f"prune_artifacts: path is {path!r}, expected 'ENTITY/PROJECT/NAME'")
    if not isinstance(artifacts, Artifacts):
        raise CallbackError(f"prune_artifacts: artifacts is {artifacts!r}, expected Artifacts(…)")
    if run is not None and not (isinstance(run, str) and run):
        raise CallbackError(f"prune_artifacts: run is {run!r}, expected the id of a run, or None for all")
    import wandb

    versions = wandb.Api().artifacts(TYPE, path)
    candidates = [version for version in versions if run in (None, (version.metadata or {}).get("run"))]
    gone = superseded(candidates, artifacts.keep)
    for version in gone:
        _retire(version, artifacts)
    return [version.version for version in gone]


class ArtifactVersion(Protocol):
    """One version of an artifact, as wandb's public API returns it."""

    ttl: timedelta | None

    @property
    def version(self) -> str:
        """Such as ``v3``."""

    @property
    def aliases(self) -> list[str]:
        """Its names."""

    def delete(self, delete_aliases: bool) -> None:
        """Delete it on the server."""

    def save(self) -> None:
        """Send changes to the server."""


def superseded(versions: Iterable[Version], keep: int | None) -> list[Version]:
    """The versions that are not kept, newest first."""
    if keep is None:
        return []
    newest_first = sorted(versions, key=lambda version: int(version.version[1:]), reverse=True)
    return [version for version in newest_first[keep:] if not _is_named(version.aliases)]


def _is_named(aliases: Iterable[str]) -> bool:
    return any(alias == "best" or not _AUTOMATIC_ALIAS.fullmatch(alias) for alias in aliases)


def _retire(version: ArtifactVersion, artifacts: Artifacts) -> None:
    if artifacts.old == "delete":
        version.delete(delete_aliases=True)
    else:
        version.ttl = timedelta(days=artifacts.expire_days)
        version.save()
