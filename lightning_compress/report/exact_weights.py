"""The exact weights of a compressed file, from the checkpoint beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lightning_compress.archive import Manifest
from lightning_compress.compression import is_made_from
from lightning_compress.errors import WeightsError
from lightning_compress.files.companion_names import checkpoints_of
from lightning_compress.weights import Weights


def find_exact_weights(file: Path, manifest: Manifest) -> tuple[Mapping[str, Tensor] | None, str]:
    """Name → exact tensor, or None; and a sentence that names the source, or the reason why there is none.

    The fingerprint of the weights must be the one in the file: the checkpoint of this name may be of another step.

    Args:
        file: the compressed file; ``run/last.compressed.safetensors`` belongs to ``run/last.ckpt`` or ``run/last``.
        manifest: the manifest of the file.
    """
    checkpoint = next((path for path in map(Path, checkpoints_of(file)) if path.exists()), None)
    if checkpoint is None:
        return None, "The exact checkpoint does not lie beside the file."
    try:
        tensors = Weights.from_checkpoint(checkpoint).state_dict()
    except WeightsError as error:
        return None, f"The exact checkpoint was not taken: {error}"
    if is_made_from(manifest, tensors):
        return {entry.name: tensors[entry.name] for entry in manifest.entries}, f"Exact weights: {checkpoint.name}."
    return None, f"{checkpoint.name} holds other weights than those the file was made from."
