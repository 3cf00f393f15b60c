"""What ``TranslationQuality`` measures and when, from its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lightning_compress.callbacks.arguments import check_flag, check_whole_number
from lightning_compress.callbacks.hooks.model_checkpoints import Mode
from lightning_compress.callbacks.moments import Moment, Moments
from lightning_compress.callbacks.objective import Objective
from lightning_compress.errors import CallbackError


def objective_of(metric: Callable[[Any], Any] | str | None, mode: Mode | None) -> Objective | None:
    """What is measured in place of BLEU; None for BLEU.

    Raises:
        CallbackError: ``metric`` or ``mode`` is wrong, or ``mode`` is given without ``metric``.
    """
    name = None if callable(metric) else metric
    function = metric if callable(metric) else None
    objective = Objective(name, mode, function, argument="metric", default_mode="max", function_argument="metric")
    if metric is None and mode is not None:
        raise CallbackError(f"mode={mode!r} belongs to metric=…, and BLEU is measured without one: leave mode out")
    return None if metric is None else objective


def moments_of(
    when: Moment | Sequence[Moment] | None, every_n_epochs: int | None, at_save: bool | None, at_fit_end: bool | None
) -> Moments:
    """The moments of ``when``, or of the older arguments, which cannot be given together with it.

    Raises:
        CallbackError: an argument is wrong, or arguments of both kinds are given.
    """
    older = {"every_n_epochs": every_n_epochs, "at_save": at_save, "at_fit_end": at_fit_end}
    given = [name for name, value in older.items() if value is not None]
    if when is not None:
        if given:
            raise CallbackError(f"when={when!r} takes the place of {', '.join(given)}: leave one of the two out")
        return Moments.measurement(when)
    check_whole_number("every_n_epochs", every_n_epochs, 0, optional=True)
    for name in ("at_save", "at_fit_end"):
        if older[name] is not None:
            check_flag(name, older[name])
    return Moments("all" if at_save is not False else None, at_fit_end is not False, every_n_epochs or 0)
