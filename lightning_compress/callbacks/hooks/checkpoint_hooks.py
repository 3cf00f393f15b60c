"""Hooks into the places where Lightning saves, links, deletes and loads checkpoints.

Every checkpoint passes through a few methods of the trainer's strategy, whether a ``ModelCheckpoint``, an
``OnExceptionCheckpoint`` or ``trainer.save_checkpoint()`` saves it. Those methods are replaced on that one instance; no
class and no global of Lightning is changed. They stay replaced after ``fit``, because checkpoints are also saved by
hand, and the one of an exception is deleted, after that.

A save calls, in this order and on every rank: ``before_save`` of each listener, Lightning's own method, and
``after_save`` of each listener with the job that its ``before_save`` returned. Temporary checkpoints of the tuners, and
checkpoints without weights, are not reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from os import PathLike, fspath
from typing import Any, Protocol, TypeVar

from lightning_compress.callbacks.hooks.lightning_types import Strategy, Trainer, callbacks_of
from lightning_compress.callbacks.hooks.model_checkpoints import is_temporary

JobT = TypeVar("JobT")
_ATTRIBUTE = "_lightning_compress_hooks"  # on a strategy: its hooks; on a ModelCheckpoint: True
_METHODS = ("save_checkpoint", "remove_checkpoint", "load_checkpoint", "load_model_state_dict")


class CheckpointListener(Protocol[JobT]):
    """A callback that is called at each checkpoint of its trainer, on every rank."""

    def before_save(self, trainer: Trainer, checkpoint: Mapping[str, Any], path: str) -> JobT | None:
        """Called before a checkpoint is written, while its state dict is complete.

        Sharded strategies remove the state dict from the checkpoint while they write, so it must be read here.

        Returns:
            What :meth:`after_save` needs.
        """

    def after_save(self, trainer: Trainer, job: JobT | None) -> None:
        """Called after the checkpoint was written; not called if writing it failed."""

    def after_link(self, trainer: Trainer, target: str, link: str) -> None:
        """Called after ``link`` was made a link to the checkpoint ``target``."""

    def before_remove(self, trainer: Trainer, path: str) -> None:
        """Called before a checkpoint is deleted, so that a process that is killed in between leaves no file alone."""

    def load(self, trainer: Trainer, path: str) -> dict[str, Any] | None:
        """Called when a checkpoint is read: its content, or None to let Lightning read it."""

    def restore(self, trainer: Trainer, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """Called when a checkpoint's weights are loaded into the module: whether the listener has loaded them."""


@dataclass(frozen=True)
class SavedState:
    """The weights of a checkpoint.

    Attributes:
        state: the state dict, whose tensors may be those of the module.
        path: the checkpoint.
    """

    state: Mapping[str, Any]
    path: str


class SaveListener:
    """A listener that only handles saves. Subclasses implement ``before_save`` and ``after_save``."""

    def after_link(self, trainer: Trainer, target: str, link: str) -> None:
        """Does nothing."""

    def before_remove(self, trainer: Trainer, path: str) -> None:
        """Does nothing."""

    def load(self, trainer: Trainer, path: str) -> dict[str, Any] | None:
        """Lets Lightning read the checkpoint."""
        return None

    def restore(self, trainer: Trainer, checkpoint: Mapping[str, Any], strict: bool) -> bool:
        """Lets Lightning load the weights."""
        return False


def attach(trainer: Trainer, listener: CheckpointListener[Any]) -> None:
    """Call ``listener`` at each checkpoint of ``trainer`` from now on; attaching it again changes nothing.

    It is called as long as it is among the callbacks of the trainer that uses the strategy, and after the listeners
    that were attached before it.
    """
    hooks = _hooks_of(trainer.strategy) or CheckpointHooks(trainer.strategy)
    if not any(known is listener for known in hooks.listeners):
        hooks.listeners.append(listener)
    for callback in trainer.checkpoint_callbacks:
        # A protected method that not every version has: without it links are not reported, everything else is.
        if hasattr(callback, "_link_checkpoint") and not hasattr(callback, _ATTRIBUTE):
            _hook_links(callback)


class CheckpointHooks:
    """The methods that take the place of those of one strategy.

    Attributes:
        listeners: in the order in which they are called.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.listeners: list[CheckpointListener[Any]] = []
        self._strategy = strategy
        self._original: dict[str, Callable[..., Any]] = {name: getattr(strategy, name) for name in _METHODS}
        for name in _METHODS:
            setattr(strategy, name, getattr(self, name))
        setattr(strategy, _ATTRIBUTE, self)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | PathLike[str], *args: object, **kwargs: object
    ) -> None:
        """Write a checkpoint."""
        trainer, listeners = self._active()
        if trainer is None or is_temporary(filepath) or "state_dict" not in checkpoint:
            self._original["save_checkpoint"](checkpoint, filepath, *args, **kwargs)
            return
        jobs = [listener.before_save(trainer, checkpoint, fspath(filepath)) for listener in listeners]
        self._original["save_checkpoint"](checkpoint, filepath, *args, **kwargs)
        for listener, job in zip(listeners, jobs, strict=True):
            listener.after_save(trainer, job)

    def remove_checkpoint(self, filepath: str | PathLike[str]) -> None:
        """Delete a checkpoint."""
        trainer, listeners = self._active()
        if trainer is not None:
            for listener in listeners:
                listener.before_remove(trainer, fspath(filepath))
        self._original["remove_checkpoint"](filepath)

    def load_checkpoint(self, checkpoint_path: str | PathLike[str], *args: object, **kwargs: object) -> dict[str, Any]:
        """Read a checkpoint: what the first listener that takes it gives, else what Lightning reads."""
        trainer, listeners = self._active()
        if trainer is not None:
            for listener in listeners:
                content = listener.load(trainer, fspath(checkpoint_path))
                if content is not None:
                    return content
        checkpoint: dict[str, Any] = self._original["load_checkpoint"](checkpoint_path, *args, **kwargs)
        return checkpoint

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load a checkpoint's weights, by the first listener that takes it, else by Lightning."""
        trainer, listeners = self._active()
        if trainer is None or not any(listener.restore(trainer, checkpoint, strict) for listener in listeners):
            self._original["load_model_state_dict"](checkpoint, strict=strict)

    def after_link(self, filepath: str, linkpath: str) -> None:
        """Report a link that a ``ModelCheckpoint`` has made."""
        trainer, listeners = self._active()
        if trainer is not None:
            for listener in listeners:
                listener.after_link(trainer, fspath(filepath), fspath(linkpath))

    def _active(self) -> tuple[Trainer | None, list[CheckpointListener[Any]]]:
        """The trainer that uses the strategy now, and those of its callbacks that listen."""
        trainer = _trainer_of(self._strategy)
        if trainer is None:
            return None, []
        return trainer, [one for one in self.listeners if any(callback is one for callback in callbacks_of(trainer))]


def _hook_links(callback: object) -> None:
    """Report the links that a ``ModelCheckpoint`` makes to the hooks of the strategy in use."""
    original: Callable[..., None] = getattr(callback, "_link_checkpoint")  # noqa: B009

    @wraps(original)
    def link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
        original(trainer, filepath, linkpath)
        hooks = _hooks_of(trainer.strategy)
        if hooks is not None:
            hooks.after_link(filepath, linkpath)

    vars(callback).update({"_link_checkpoint": link_checkpoint, _ATTRIBUTE: True})


def _hooks_of(strategy: Strategy) -> CheckpointHooks | None:
    return getattr(strategy, _ATTRIBUTE, None)


def _trainer_of(strategy: Strategy) -> Trainer | None:
    """The trainer that uses the strategy now; None before its first run."""
    module: Any = strategy.lightning_module
    if module is None or not module._trainer:
        return None
    trainer: Trainer = module.trainer
    return trainer
