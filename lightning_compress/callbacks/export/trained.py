"""``plan="trained"``: files are compressed as the training of another callback quantizes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lightning_compress.callbacks.hooks.lightning_types import Trainer, callbacks_of
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError

TRAINED = "trained"


@runtime_checkable
class QuantizedTraining(Protocol):
    """A callback that trains with quantized weights."""

    @property
    def guided_plan(self) -> GuidedPlan | None:
        """How; None before it is known, which it is when the training starts."""
        ...


def quantized_training(trainer: Trainer) -> QuantizedTraining:
    """The callback of a trainer that trains with quantized weights.

    Raises:
        CallbackError: there is none.
    """
    found = next((each for each in callbacks_of(trainer) if isinstance(each, QuantizedTraining)), None)
    if found is None:
        raise CallbackError(
            f"plan={TRAINED!r} is the plan that a training quantizes by, and no callback does: add "
            "QuantizeDuringTraining(…), or give a plan"
        )
    return found
