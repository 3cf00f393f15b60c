"""What the module of a trainer is scored by: a function of the user, or a metric that the validation logs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from torch import nn

from lightning_compress.callbacks.arguments import check_choice, check_function, check_text
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.model_checkpoints import Mode, monitored_metrics
from lightning_compress.callbacks.hooks.shared_validation import can_validate_together, validated_by_all
from lightning_compress.callbacks.hooks.validation import validated
from lightning_compress.errors import CallbackError
from lightning_compress.search import Evaluate, Score

LOSS = "loss"


@dataclass(frozen=True)
class Metric:
    """One way to score a module.

    Attributes:
        name: of the metric.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is.
        evaluate: module → its value.
    """

    name: str
    mode: Mode
    evaluate: Evaluate

    @property
    def higher_is_better(self) -> bool:
        """Whether higher values are better."""
        return self.mode == "max"

    @property
    def sign(self) -> float:
        """The factor between a value and its score, for which higher is better: 1 or -1."""
        return 1.0 if self.higher_is_better else -1.0

    def score(self, module: nn.Module) -> Any:
        """The module's score, for which higher is better: the value, or its negative if lower values are better."""
        value = self.evaluate(module)
        return value if self.higher_is_better else -Score.from_value(value)


@dataclass(frozen=True)
class Objective:
    """The arguments of a callback that say what is measured.

    Attributes:
        monitor: a metric that the trainer's validation logs.
        mode: ``"max"`` if higher is better, ``"min"`` if lower is; see :meth:`mode_of` for None.
        evaluate: module → value, instead of the trainer's validation.
        argument: the callback's name for ``monitor``, for messages.
        default_mode: the mode of a metric whose mode is not known otherwise; None to derive it from the metric's name.
        batches: the number of batches of each validation loader; None for as many as Lightning uses.
        function_argument: the callback's name for ``evaluate``, for messages.

    Raises:
        CallbackError: an argument is wrong.
    """

    monitor: str | None = None
    mode: Mode | None = None
    evaluate: Evaluate | None = None
    argument: str = "monitor"
    default_mode: Mode | None = None
    batches: int | None = None
    function_argument: str = "evaluate"

    def __post_init__(self) -> None:
        check_text(self.argument, self.monitor, "the name of a metric such as 'val_bleu'")
        check_choice("mode", self.mode, get_args(Mode), optional=True)
        check_function(self.function_argument, self.evaluate, "module → score")

    def resolve(self, trainer: Trainer) -> Metric:
        """The user's function, else the given metric, else the one that a ``ModelCheckpoint`` monitors.

        Raises:
            CallbackError: there is none of these, or the mode is not known.
        """
        if self.evaluate is not None:
            return Metric(self.monitor or "score", self.mode or "max", self.evaluate)
        name = self.monitor or next(iter(monitored_metrics(trainer)), None)
        if name is None:
            raise CallbackError(
                f"a score is needed: give {self.argument}=… and mode=…, or {self.function_argument}=…, or the trainer "
                "a ModelCheckpoint(monitor=…)"
            )
        return self.validation_metric(trainer, name)

    def validation_metric(self, trainer: Trainer, name: str) -> Metric:
        """A metric that the trainer's validation logs.

        Raises:
            CallbackError: the mode is not known.
        """
        validate = validated if trainer.world_size == 1 else validated_by_all
        evaluate = partial(validate, trainer, monitor=name, batches=self.batches)
        return Metric(name, self.mode_of(trainer, name), evaluate)

    def mode_of(self, trainer: Trainer, name: str) -> Mode:
        """The given mode, else that of the ``ModelCheckpoint`` that monitors the metric, else the default.

        Without a default, the mode of a metric with "loss" in its name is ``"min"``.

        Raises:
            CallbackError: the mode is not known.
        """
        by_name: Mode | None = "min" if LOSS in name.lower() else None
        mode = self.mode or monitored_metrics(trainer).get(name) or self.default_mode or by_name
        if mode is None:
            raise CallbackError(
                f"whether more of {name!r} is better is not known, no ModelCheckpoint monitors it: give mode='max' or "
                "mode='min'"
            )
        return mode

    def check_trainer(self, trainer: Trainer) -> None:
        """Refuse a trainer that cannot run its validation at any time. A function of the user can always run.

        Args:
            trainer: at the start of ``fit``.

        Raises:
            CallbackError: there is no validation, or several processes without ``torch.distributed``.
        """
        if self.evaluate is not None:
            return
        if not can_validate_together(trainer):
            raise CallbackError(
                f"{trainer.world_size} processes of this strategy cannot validate together, which takes "
                f"torch.distributed: give {self.function_argument}=…, a function that is called on rank 0"
            )
        if not trainer.enable_validation:
            raise CallbackError(
                "a score needs a validation: give the trainer validation data, or "
                f"{self.function_argument}=…, a function"
            )
