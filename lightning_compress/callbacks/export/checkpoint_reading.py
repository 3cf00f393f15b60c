"""Compressed files as ``ckpt_path`` of ``trainer.validate``, ``test`` and ``predict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.hooks.collective import full_state_dict, on_rank_zero
from lightning_compress.callbacks.hooks.lightning_types import Strategy, Trainer
from lightning_compress.errors import CallbackError
from lightning_compress.files import exists
from lightning_compress.files.companion_names import CHECKPOINT_SUFFIX, checkpoints_of, is_companion_name
from lightning_compress.loading import StoredModule, lightning_version, load_weights, tell_left_out
from lightning_compress.resumable import is_resumable, read_file
from lightning_compress.weights import match_state

# Key of the checkpoint dictionaries that were read from a compressed file.
_ORIGIN = "lightning_compress"


def read(trainer: Trainer, path: str) -> dict[str, Any] | None:
    """The file as a dictionary that Lightning accepts as a checkpoint; None for a file of another program.

    An exact compressed checkpoint is one already.

    Raises:
        CallbackError: ``fit`` would resume from it.
        FormatError: its name is that of a companion file, but it cannot be read as one.
    """
    if is_resumable(path):
        return read_file(path)
    if path.endswith(CHECKPOINT_SUFFIX) or not (is_archive(path) or (is_companion_name(path) and exists(path))):
        return None
    if trainer.state.fn == "fit":
        raise CallbackError(
            f"fit cannot resume from {path}: it holds inexact weights for decoding, no optimizer state. "
            + _where_to_resume(path)
        )
    stored = StoredModule.of_archive(Archive.open(path), path)
    checkpoint = stored.as_checkpoint(lightning_version())
    return stored.for_hook({**checkpoint, _ORIGIN: {"path": path, "excluded": list(stored.excluded)}})


def restore(strategy: Strategy, checkpoint: Mapping[str, Any], strict: bool) -> bool:
    """Load the weights of such a dictionary into the trainer's module; return False for an ordinary checkpoint.

    Tensors that the file leaves out keep the module's own values.

    Raises:
        MismatchError: names or shapes differ.
    """
    origin = checkpoint.get(_ORIGIN)
    if origin is None:
        return False
    stored, excluded, source = checkpoint["state_dict"], origin["excluded"], origin["path"]
    if not strategy.restore_checkpoint_after_setup:
        assert strategy.lightning_module is not None
        load_weights(strategy.lightning_module, stored, excluded=excluded, strict=strict, source=source)
        tell_left_out(strategy.lightning_module, excluded, source)
        return True
    # Imported here, because it takes a second that only sharded models need.
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    whole = full_state_dict(strategy)

    def match() -> None:
        whole.update(match_state(whole, stored, excluded=excluded, strict=strict, source=source))

    on_rank_zero(strategy, match)
    assert strategy.model is not None
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
