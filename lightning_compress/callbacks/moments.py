"""When a callback measures: every n epochs, at each save, at the end of ``fit``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lightning_compress.errors import CallbackError


@dataclass(frozen=True)
class Moments:
    """The moments of one callback.

    Attributes:
        end: whether the end of ``fit`` is one.
        save: whether each save of a checkpoint is one.
        epochs: after how many epochs there is one, each time; 0 for never.
    """

    end: bool
    save: bool
    epochs: int

    @classmethod
    def of(cls, when: Any) -> Moments:
        """The moments of ``"end"``, ``"save"``, a number of epochs, or several of these.

        Raises:
            CallbackError: it is none of these, or nothing.
        """
        parts = list(when) if isinstance(when, Iterable) and not isinstance(when, str) else [when]
        epochs = [part for part in parts if type(part) is int and part > 0]
        if not parts or len(epochs) > 1 or any(part not in ("end", "save", *epochs) for part in parts):
            raise CallbackError(
                f"when={when!r} is not known: write 'end', 'save', a number of epochs, or several as in ('end', 5)"
            )
        return cls("end" in parts, "save" in parts, sum(epochs))

    def is_after(self, epoch: int) -> bool:
        """Whether there is one at the end of an epoch, counted from 0."""
        return self.epochs > 0 and (epoch + 1) % self.epochs == 0
