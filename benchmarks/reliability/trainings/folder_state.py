"""What is wrong in the folders of a training: damaged, stale, missing and left-over files."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from lightning_compress.archive import Archive, is_archive
from lightning_compress.errors import CompressionError
from lightning_compress.files import checkpoints_of, companion_of, is_companion_name, is_temporary_name
from lightning_compress.plan import Plan
from lightning_compress.weights import Weights

HALF = Plan.resolve("half").to_config()


@dataclass(frozen=True)
class FolderState:
    """Names of files, relative to the folder of the training.

    Attributes:
        damaged: companion files that do not open and verify.
        stale: companion files that hold other weights than their checkpoint.
        gaps: checkpoints that the policy gives a companion file, and that have none.
        surplus: companion files that the policy does not allow.
        orphans: companion files without a checkpoint.
        temporary: temporary files and links.
        dangling: links of this package that lead to nothing.
        torn: checkpoints that cannot be read.
    """

    damaged: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    temporary: tuple[str, ...] = ()
    dangling: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()

    def found(self) -> dict[str, tuple[str, ...]]:
        """Way → files that are wrong in this way, where there are any."""
        return {name: paths for name, paths in asdict(self).items() if paths}


def inspect(folder: Path, when: str, best: Iterable[str] | None = None) -> FolderState:
    """Judge every file below a folder.

    Args:
        folder: of the training.
        when: the policy.
        best: the best checkpoints; by default those that the newest checkpoint names.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    checkpoints = {path: content for path in paths if path.suffix == ".ckpt" and (content := read(path)) is not None}
    whole = frozenset(checkpoints)
    torn = [path for path in paths if path.suffix == ".ckpt" and path not in whole and path.exists()]
    companions = [path for path in paths if is_companion_name(path)]
    entitled = _entitled(when, checkpoints, best)
    existing = [path for path in companions if path.exists()]
    damaged = [path for path in existing if not _verifies(path)]
    sound = [path for path in existing if path not in damaged]
    found = {
        "damaged": damaged,
        "stale": [path for path in sound if (own := _checkpoint(path)) in whole and not _agrees(path, own)],
        "gaps": [path for path in entitled if not Path(companion_of(path)).exists()],
        "surplus": [p for p in existing if (own := _checkpoint(p)) in whole and own not in entitled],
        "orphans": [path for path in existing if not _checkpoint(path).exists()],
        "temporary": [path for path in paths if is_temporary_name(path.name)],
        "dangling": [path for path in companions if not path.exists()],
        "torn": torn,
    }
    return FolderState(
        **{name: tuple(str(path.relative_to(folder)) for path in wrong) for name, wrong in found.items()}
    )


def read(path: Path) -> dict[str, Any] | None:
    """A checkpoint; None if it is missing or was not written completely."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, BadZipFile, pickle.UnpicklingError):
        return None
    return content


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint that is no link."""
    found = [path for path in folder.rglob("*.ckpt") if not path.is_symlink() and read(path) is not None]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each complete checkpoint."""
    whole = [path for path in folder.rglob("*.ckpt") if read(path) is not None]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in whole}


def _entitled(when: str, checkpoints: Mapping[Path, dict[str, Any]], best: Iterable[str] | None) -> frozenset[Path]:
    """The checkpoints that have a companion file: those that the policy names, and the links to them."""
    files = [path for path in checkpoints if not path.is_symlink()]
    if when == "all" or not files:
        return frozenset(checkpoints)
    last = max(files, key=lambda path: path.stat().st_mtime_ns)
    if when == "best":
        given = _best_of(checkpoints[last]) if best is None else best
        named = {Path(path).resolve() for path in given}
    else:
        named = {last.resolve()}
    return frozenset(path for path in checkpoints if path.resolve() in named)


def _best_of(checkpoint: Mapping[str, Any]) -> list[str]:
    states = checkpoint["callbacks"].values()
    return [state["best_model_path"] for state in states if state.get("best_model_path")]


def _verifies(path: Path) -> bool:
    try:
        Archive.open(path).verify()
    except (CompressionError, OSError):
        return False
    return is_archive(path)


def _agrees(companion: Path, checkpoint: Path) -> bool:
    """Whether a companion file was made from these weights: by fingerprint, and by value if it is in half precision."""
    archive, weights = Archive.open(companion), Weights.from_checkpoint(checkpoint)
    if archive.manifest.fingerprint != weights.fingerprint:
        return False
    if archive.manifest.plan != HALF:
        return True
    restored = archive.restore()
    return all(
        torch.allclose(restored[name], tensor, rtol=2**-7, atol=1e-30) for name, tensor in weights.state_dict().items()
    )


def _checkpoint(companion: Path) -> Path:
    """The checkpoint of a companion file."""
    return Path(checkpoints_of(companion)[0])
