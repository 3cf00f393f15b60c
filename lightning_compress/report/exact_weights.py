"""The exact weights of a compressed file, from a checkpoint in the folder of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lightning_compress.archive import Manifest
from lightning_compress.compression import is_made_from
from lightning_compress.errors import WeightsError
from lightning_compress.files.companion_names import checkpoints_of
from lightning_compress.weights import Weights

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


def find_exact_weights(file: Path, manifest: Manifest, folder: Path | None = None) -> ExactWeights:
    """The exact weights, from the checkpoint whose weights have the fingerprint that is stored in the file.

    The checkpoint of the file's name is read first, and then every other one in the folder: a checkpoint may have been
    renamed or overwritten since.

    Args:
        file: the compressed file; ``run/last.compressed.safetensors`` belongs to ``run/last.ckpt`` or ``run/last``.
        manifest: the manifest of the file.
        folder: searched recursively; the folder of the file by default.
    """
    problem = ""
    for checkpoint in _candidates(file, folder or file.parent):
        try:
            weights = Weights.from_checkpoint(checkpoint)
        except (WeightsError, OSError) as error:
            problem = problem or f"The exact checkpoint was not taken: {error}"
            continue
        tensors = weights.state_dict()
        if is_made_from(manifest, tensors):
            exact = {entry.name: tensors[entry.name] for entry in manifest.entries}
            return ExactWeights(f"Exact weights: {checkpoint.name}.", checkpoint, exact)
        problem = problem or f"{checkpoint.name} holds other weights than those the file was made from."
    return ExactWeights(problem or "There is no checkpoint with the exact weights in the folder.")


def _candidates(file: Path, folder: Path) -> Iterator[Path]:
    """The checkpoints that may be the exact one, the likeliest first; a link and its target count once."""
    named = [path for path in map(Path, checkpoints_of(file)) if path.exists()]
    others = sorted(path for path in folder.rglob("*") if path.suffix in _ENDINGS and path.exists())
    seen: set[Path] = set()
    for path in (*named, *others):
        if path.resolve() not in seen:
            seen.add(path.resolve())
            yield path
