"""When a callback acts: at which saves, at the end of ``fit``, every n epochs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_compress.callbacks.arguments import is_whole, listed
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import is_best
from lightning_compress.errors import CallbackError

Saves = Literal["all", "best", "last"]
Moment = Literal["save", "best", "end"] | int  # of a callback that measures

POLICY = ("all", "best", "last")
MEASUREMENT = ("end", "save", "best")
_SAVES: dict[object, Saves] = {"all": "all", "save": "all", "best": "best", "last": "last"}


@dataclass(frozen=True)
class Moments:
    """The moments at which one callback acts.

    Attributes:
        saves: the saves: ``"all"``; ``"best"``, those that a ``ModelCheckpoint`` calls best; ``"last"``, the newest;
            None for no save.
        end: whether the callback acts at the end of ``fit``.
        epochs: the callback acts after every so many epochs; 0 for never.
    """

    saves: Saves | None = None
    end: bool = False
    epochs: int = 0

    @classmethod
    def policy(cls, when: object) -> Moments:
        """The saves whose checkpoints have a companion file: ``"all"`` (or ``"save"``), ``"best"`` or ``"last"``.

        Raises:
            CallbackError: ``when`` is not one of these.
        """
        if not isinstance(when, str) or when not in _SAVES:
            raise CallbackError(f"when={when!r} is not known: write {listed(POLICY)}")
        return cls(saves=_SAVES[when])

    @classmethod
    def measurement(cls, when: object) -> Moments:
        """The moments of a measurement.

        Args:
            when: ``"end"`` of ``fit``; ``"save"`` (or ``"all"``), every save; ``"best"``, a save that a
                ``ModelCheckpoint`` calls best; a whole number n for every n epochs; or several of these.

        Raises:
            CallbackError: ``when`` is not one of these, is empty, or has two numbers or two kinds of saves.
        """
        is_several = isinstance(when, Collection) and not isinstance(when, (str, bytes, Mapping))
        parts: Sequence[object] = list(when) if is_several else [when]  # type: ignore[call-overload]
        names = [part for part in parts if isinstance(part, str)]
        epochs = [part for part in parts if is_whole(part) and part > 0]  # type: ignore[operator]
        saves = {_SAVES[name] for name in names if name in ("all", *MEASUREMENT) and name != "end"}
        unknown = [name for name in names if name not in ("all", *MEASUREMENT)]
        if not parts or unknown or len(names) + len(epochs) < len(parts) or len(epochs) > 1 or len(saves) > 1:
            raise CallbackError(
                f"when={when!r} is not known: write 'end', 'save', 'best', a whole number n for every n epochs, or "
                "several of these as in ('end', 5): one number at most, and only one of 'save' and 'best'"
            )
        return cls(next(iter(saves), None), "end" in names, int(str(epochs[0])) if epochs else 0)

    def is_after(self, epoch: int) -> bool:
        """Whether the callback acts at the end of an epoch, counted from 0."""
        return self.epochs > 0 and (epoch + 1) % self.epochs == 0

    def includes(self, trainer: Trainer, path: str) -> bool:
        """Whether the callback acts at the save of a checkpoint. To be called on every rank; they agree.

        Every save is the last one when it happens.
        """
        if self.saves != "best":
            return self.saves is not None
        # The path may differ between ranks, if a metric in the file name is not reduced. Rank 0 writes, and decides.
        return trainer.strategy.broadcast(is_best(trainer, path), src=0)
