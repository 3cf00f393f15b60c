"""Finds misspelled names of tensors and of metrics early: before the first step, and at the first validation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from lightning_compress.callbacks.hooks.collective import shape_only
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.objective import LOSS, Objective
from lightning_compress.errors import CompressionError, did_you_mean
from lightning_compress.runtime import preserved_random_state

_log = logging.getLogger(__name__)


def try_before_training(module: nn.Module, what: str, attempt: Callable[[Mapping[str, Tensor]], object]) -> None:
    """Call a function with the shapes of the module's tensors; random numbers are those of a run without the call.

    Args:
        module: the module, before the first step.
        what: what is tried, for the warning if it fails for another reason than a wrong name.
        attempt: state dict of zeros that take no memory → anything; its CompressionError is raised.
    """
    shapes = shape_only(module)
    if shapes is None:
        return
    try:
        with preserved_random_state():
            attempt(shapes)
    except CompressionError:
        raise
    except Exception as error:
        # A method of the module may need what only the training sets up.
        _log.warning("%s could not be tried on the model before the training: %r", what, error)


@dataclass
class MetricNameCheck:
    """Warns once if the first validation does not log the metric that the user named.

    It does not raise: a module may log a metric in some validations only, such as not in the sanity check.

    Args:
        objective: of the callback; None, or one without a named metric, is not checked.
    """

    objective: Objective | None
    _is_done: bool = field(default=False, init=False)

    def check(self, trainer: Trainer) -> None:
        """To be called at the end of each validation."""
        objective = self.objective
        if self._is_done or objective is None or objective.evaluate is not None or objective.monitor in (None, LOSS):
            return
        self._is_done = True
        logged = sorted(map(str, trainer.callback_metrics))
        if objective.monitor not in logged and logged and trainer.is_global_zero:
            _log.warning(
                "%s is %r, which this validation did not log%s; it logged %s: correct the name, unless other "
                "validations log it",
                objective.argument,
                objective.monitor,
                did_you_mean(objective.monitor, logged),
                ", ".join(logged),
            )
