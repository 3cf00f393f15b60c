"""The exact weights of a compressed file, from a checkpoint in the folder of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lightning_compress.archive import Manifest
from lightning_compress.compression import fingerprint_of, read_weights
from lightning_compress.errors import WeightsError
from lightning_compress.files.companion_names import checkpoints_of
from lightning_compress.runtime.cached import cached_property

_ENDINGS = frozenset({".ckpt", ".pt", ".pth"})


@dataclass(frozen=True, eq=False)
class ExactWeights:
    """The exact weights of one file, or the reason why there are none.

    Attributes:
        note: a sentence that names the source, or says why there is none.
        checkpoint: the checkpoint that holds them; None without them.
        tensors: name → exact tensor; None without them.
    """

    note: str
    checkpoint: Path | None = None
    tensors: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class _Content:
    """What is known of a checkpoint that was read.

    Attributes:
        fingerprint: of its weights; None if it cannot be read or has other names.
        problem: why it is not the exact checkpoint of a file with another fingerprint.
    """

    fingerprint: str | None
    problem: str


class Checkpoints:
    """The checkpoints of a folder, in which the exact weights of any number of files are found.

    A checkpoint is read when a file first needs it, and only its fingerprint is kept. It is read again for each file
    that was made from it, and for a file with other names of tensors.

    Args:
        folder: searched recursively.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, ...], dict[Path, _Content]] = {}  # by the kind of a fingerprint and the names

    def exact_weights(self, file: Path, manifest: Manifest) -> ExactWeights:
        """The exact weights, from the checkpoint whose weights have the fingerprint that is stored in the file.

        The checkpoint of the file's name is read first, and then every other one in the folder: a checkpoint may have
        been renamed or overwritten since.

        Args:
            file: the compressed file; ``run/last.compressed.safetensors`` belongs to ``run/last.ckpt`` or ``run/last``.
            manifest: the manifest of the file.
        """
        kind = manifest.fingerprint.rpartition(":")[0]
        known = self._known.setdefault((kind, *manifest.names, *manifest.excluded, repr(manifest.ties)), {})
        named = [path for path in map(Path, checkpoints_of(file)) if path.exists()]
        candidates = _distinct((*named, *self._all))
        matching = [path for path in candidates if path in known and known[path].fingerprint == manifest.fingerprint]
        unread = [path for path in candidates if path not in known]
        for checkpoint in (*matching, *unread):
            known[checkpoint], exact = _read(checkpoint, manifest)
            if known[checkpoint].fingerprint == manifest.fingerprint:
                return ExactWeights(f"Exact weights: {checkpoint.name}.", checkpoint, exact)
        if not candidates:
            return ExactWeights("There is no checkpoint with the exact weights in the folder.")
        return ExactWeights(known[candidates[0]].problem)

    @cached_property
    def _all(self) -> list[Path]:
        return sorted(path for path in self._folder.rglob("*") if path.suffix in _ENDINGS and path.exists())


def _distinct(paths: Iterable[Path]) -> list[Path]:
    """The paths in their order; a link and its target count once."""
    first: dict[Path, Path] = {}
    for path in paths:
        first.setdefault(path.resolve(), path)
    return list(first.values())


def _read(checkpoint: Path, manifest: Manifest) -> tuple[_Content, dict[str, Tensor] | None]:
    """What a checkpoint holds, and its tensors with the names of a file."""
    try:
        tensors = read_weights(checkpoint).state_dict()
    except (WeightsError, OSError) as error:
        return _Content(None, f"The exact checkpoint was not taken: {error}"), None
    problem = f"{checkpoint.name} holds other weights than those the file was made from."
    content = _Content(fingerprint_of(manifest, tensors), problem)
    if content.fingerprint is None:
        return content, None
    return content, {entry.name: tensors[entry.name] for entry in manifest.entries}
