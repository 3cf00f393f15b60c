"""A compressed file where Lightning takes a checkpoint: ``trainer.validate(ckpt_path=…)`` and its like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export.naming import CHECKPOINT_SUFFIX, SUFFIX, checkpoints_of
from lightning_compress.callbacks.hooks.collective import on_rank_zero, whole_state
from lightning_compress.errors import CallbackError
from lightning_compress.files import exists
from lightning_compress.loading import as_checkpoint
from lightning_compress.weights import load_into, match_state

# Marks the dictionaries that come from a compressed file, on their way through Lightning's hooks.
_ORIGIN = "lightning_compress"


def read(trainer: Any, path: str) -> dict[str, Any] | None:
    """The file as a dictionary that Lightning takes for a checkpoint, or None where it is none of ours.

    Raises:
        CallbackError: training is to go on from it.
        FormatError: it ends like one of ours and cannot be read as one.
    """
    if path.endswith(CHECKPOINT_SUFFIX) or not (is_archive(path) or (path.endswith(SUFFIX) and exists(path))):
        return None
    if trainer.state.fn == "fit":
        raise CallbackError(
            f"fit cannot resume from {path}: it holds inexact weights for decoding, no optimizer state. "
            + _where_to_resume(path)
        )
    archive = Archive.open(path)
    return {**as_checkpoint(archive), _ORIGIN: {"path": path, "excluded": list(archive.manifest.excluded)}}


def restore(strategy: Any, checkpoint: Mapping[str, Any], strict: bool) -> bool:
    """Put the weights of such a dictionary into the trainer's module; False for an ordinary checkpoint.

    What was left out of the file keeps the module's own value.

    Raises:
        MismatchError: names or shapes differ.
    """
    origin = checkpoint.get(_ORIGIN)
    if origin is None:
        return False
    stored, excluded, source = checkpoint["state_dict"], origin["excluded"], origin["path"]
    if not strategy.restore_checkpoint_after_setup:
        load_into(strategy.lightning_module, stored, excluded=excluded, strict=strict, source=source)
        return True
    whole = whole_state(strategy)

    def match() -> None:
        whole.update(match_state(whole, stored, excluded=excluded, strict=strict, source=source))

    on_rank_zero(strategy, match)
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(strategy.model, whole, options=options)
    return True


def _where_to_resume(path: str) -> str:
    for checkpoint in checkpoints_of(path):
        if exists(checkpoint):
            return f"Resume from its checkpoint: fit(ckpt_path={checkpoint!r})."
    return (
        f"Its checkpoint {checkpoints_of(path)[0]} is gone. Resume from another .ckpt, or start "
        "anew from these weights: fit(load_from_checkpoint(YourModule, path)) without ckpt_path."
    )
