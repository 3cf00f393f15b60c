"""The seam: where Lightning saves, links, deletes and loads checkpoints. It knows nothing of compression.

Every checkpoint of Lightning passes through a few methods of the trainer's strategy, whoever asks for it: a
``ModelCheckpoint``, ``OnExceptionCheckpoint``, ``trainer.save_checkpoint()`` by hand. They are wrapped on
that one instance; no class and no global of Lightning is changed. The wrappers stay when ``fit`` is through,
because a checkpoint is saved by hand, and the one of an exception is deleted, only after that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from os import PathLike, fspath
from typing import Any, Protocol

_MARK = "_lightning_compress_listener"


class Listener(Protocol):
    """What the seam tells, on every rank, each time with the strategy that does it."""

    def saving(self, strategy: Any, checkpoint: Mapping[str, Any], path: str) -> Callable[[], None]:
        """Before a checkpoint is written, while it is whole; what is returned is called afterwards."""

    def linked(self, strategy: Any, target: str, link: str) -> None:
        """A link to the checkpoint ``target`` was set at ``link``."""

    def removed(self, strategy: Any, path: str) -> None:
        """A checkpoint was deleted."""

    def loading(self, strategy: Any, path: str) -> dict[str, Any] | None:
        """A checkpoint is asked for: its content, or None to let Lightning read it."""

    def restoring(self, strategy: Any, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """A checkpoint's weights are to be put into the module: whether the listener has done so."""


class SaveListener:
    """A listener that minds saves alone: a subclass says what is done in :meth:`Listener.saving`."""

    def linked(self, strategy: Any, target: str, link: str) -> None:
        """Nothing is done."""

    def removed(self, strategy: Any, path: str) -> None:
        """Nothing is done."""

    def loading(self, strategy: Any, path: str) -> dict[str, Any] | None:
        """Lightning reads it."""
        return None

    def restoring(self, strategy: Any, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """Lightning restores it."""
        return False


def attach(trainer: Any, listener: Listener) -> None:
    """Have ``listener`` hear of every checkpoint of ``trainer`` from now on: once, however often called.

    The listener is heard while it is among the callbacks of the trainer that uses the strategy.
    """
    strategy = trainer.strategy
    _wrap(strategy, "save_checkpoint", listener, _save)
    _wrap(strategy, "remove_checkpoint", listener, _remove)
    _wrap(strategy, "load_checkpoint", listener, _load)
    _wrap(strategy, "load_model_state_dict", listener, _restore)
    for callback in trainer.checkpoint_callbacks:
        # Protected in Lightning, and not there in every version: links then stay unheard, nothing else is
        # lost.
        if hasattr(callback, "_link_checkpoint"):
            _wrap(callback, "_link_checkpoint", listener, _link)


def trainer_of(strategy: Any) -> Any:
    """The trainer that uses the strategy now, or None before its first run."""
    module = strategy.lightning_module
    return None if module is None or not module._trainer else module.trainer


def _wrap(owner: Any, name: str, listener: Listener, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    layer = original
    while layer is not None:
        if getattr(layer, _MARK, None) is listener:
            return
        layer = getattr(layer, "__wrapped__", None)

    @wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return around(owner, listener, original, *args, **kwargs)

    setattr(wrapper, _MARK, listener)
    setattr(owner, name, wrapper)


def _hears(strategy: Any, listener: Listener) -> bool:
    trainer = trainer_of(strategy)
    return trainer is not None and any(callback is listener for callback in trainer.callbacks)


def _save(
    strategy: Any,
    listener: Listener,
    original: Callable[..., None],
    checkpoint: dict[str, Any],
    filepath: str | PathLike[str],
    *args: Any,
    **kwargs: Any,
) -> None:
    if not _hears(strategy, listener):
        return original(checkpoint, filepath, *args, **kwargs)
    # Sharded strategies take the state dict out of the checkpoint while they write it.
    when_written = listener.saving(strategy, checkpoint, fspath(filepath))
    original(checkpoint, filepath, *args, **kwargs)
    return when_written()


def _remove(strategy: Any, listener: Listener, original: Callable[..., None], filepath: str | PathLike[str]) -> None:
    original(filepath)
    if _hears(strategy, listener):
        listener.removed(strategy, fspath(filepath))


def _load(
    strategy: Any,
    listener: Listener,
    original: Callable[..., dict[str, Any]],
    checkpoint_path: str | PathLike[str],
    *args: Any,
    **kwargs: Any,
) -> dict[str, Any]:
    content = listener.loading(strategy, fspath(checkpoint_path)) if _hears(strategy, listener) else None
    return original(checkpoint_path, *args, **kwargs) if content is None else content


def _restore(
    strategy: Any,
    listener: Listener,
    original: Callable[..., None],
    checkpoint: Mapping[str, Any],
    strict: bool = True,
) -> None:
    if not (_hears(strategy, listener) and listener.restoring(strategy, checkpoint, strict)):
        original(checkpoint, strict=strict)


def _link(
    _: Any, listener: Listener, original: Callable[..., None], trainer: Any, filepath: str, linkpath: str
) -> None:
    original(trainer, filepath, linkpath)
    if _hears(trainer.strategy, listener):
        listener.linked(trainer.strategy, fspath(filepath), fspath(linkpath))
