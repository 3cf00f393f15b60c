"""A compressed file from a training with Lightning Fabric, which has no callbacks for checkpoints."""

from __future__ import annotations

from os import PathLike
from typing import Any, Protocol

from torch import nn

from lightning_compress.compression.pipeline import compress
from lightning_compress.errors import CompressionError
from lightning_compress.plan import DEFAULT_PLAN, Plan


class Fabric(Protocol):
    """What is used of ``lightning.fabric.Fabric``."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this process has rank 0."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Send an object from one process to all."""


def save_compressed(
    fabric: Fabric, module: nn.Module, path: str | PathLike[str], plan: Plan | str | PathLike[str] = DEFAULT_PLAN
) -> int:
    """Write the compressed file of a module on rank 0, while the other processes wait.

    Call it on all ranks, as ``fabric.save``. Modules whose weights are sharded are not gathered: save them with
    ``fabric.save`` and compress that checkpoint.

    Args:
        fabric: of the training.
        module: as the user made it, or as ``fabric.setup`` returned it.
        path: the file to write; a file of this package there is replaced.
        plan: a plan, the name of a preset, or the path of a YAML file.

    Returns:
        Bytes of the file, on every rank.

    Raises:
        CompressionError: an argument is something else; or the file could not be written, which is raised on every
            rank.
    """
    for name, is_given, value, expected in (
        ("fabric", callable(getattr(fabric, "broadcast", None)), fabric, "the Fabric that trains the module"),
        ("module", isinstance(module, nn.Module), module, "a torch module"),
        ("path", isinstance(path, (str, PathLike)), path, "a path"),
    ):
        if not is_given:
            raise CompressionError(f"{name} is of type {type(value).__name__}, expected {expected}")
    outcome: int | str = 0
    if fabric.is_global_zero:
        try:
            outcome = compress(module, plan).save(path)
        except Exception as error:  # of any kind: the other processes wait for an answer
            outcome = f"{type(error).__name__}: {error}"
    outcome = fabric.broadcast(outcome)
    if isinstance(outcome, str):
        raise CompressionError(f"{path} was not written: {outcome}")
    return outcome
