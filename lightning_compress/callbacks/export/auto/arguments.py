"""The arguments of ``plan="auto"``, which are refused beside a given plan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

from lightning_compress.callbacks.arguments import check_calibration, check_choice, checked
from lightning_compress.callbacks.export.auto.searched_plans import EFFORT, SEARCH_AT, Auto, SearchAt
from lightning_compress.callbacks.objective import Objective
from lightning_compress.errors import CallbackError
from lightning_compress.search import ASSURED, CalibrationData, Evaluate
from lightning_compress.search.arguments import check_assured, check_confirm
from lightning_compress.search.effort import effort_of
from lightning_compress.search.max_drop import MaxDrop


def auto_of(
    plan: object,
    objective: Objective,
    max_drop: float | str | None,
    *,
    calibration: CalibrationData | None,
    effort: str,
    assured: float,
    confirm: Evaluate | bool,
    search_at: SearchAt,
    background: str | None,
) -> Auto | None:
    """The search for a plan; None where a plan is given.

    Args:
        plan: as the user gave it, as all others.
        objective: what is measured.
        max_drop: the largest drop that is allowed; None for that of the metric.
        calibration: batches with their loss, or the module's outputs.
        effort: the name of the search's limits.
        assured: probability that the drop is allowed on other text.
        confirm: scores other items; or whether items are set apart.
        search_at: when to search.
        background: how files are written; None: in the training's own process.

    Raises:
        CallbackError: an argument is wrong, or is for a search and a plan is given.
    """
    allowed = None if max_drop is None else checked(MaxDrop.parse, max_drop)
    check_calibration(calibration, methods=("outputs", "loss"))
    checked(effort_of, effort)
    checked(check_assured, assured)
    checked(partial(check_confirm, evaluate=objective.evaluate), confirm)
    check_choice("search_at", search_at, get_args(SearchAt))
    found = None
    if isinstance(plan, str) and plan == "auto":
        _check_inline(background)
        found = Auto(objective, allowed, calibration, effort, assured, search_at, confirm)
    else:
        optional = (objective.evaluate, objective.monitor, objective.mode, calibration, max_drop)
        _check_no_search(plan, optional, (effort, assured, search_at, confirm))
    if objective.evaluate is not None and objective.monitor is not None:
        raise CallbackError(f"evaluate=… takes the place of monitor={objective.monitor!r}: leave one of the two out")
    return found


def _check_no_search(plan: object, optional: Sequence[object], others: tuple[str, float, str, object]) -> None:
    """Refuse arguments of a search beside a given plan.

    Args:
        plan: as the user gave it.
        optional: the values of the arguments whose default is None.
        others: ``effort``, ``assured``, ``search_at`` and ``confirm``, as the user gave them.

    Raises:
        CallbackError: one of them is not its default.
    """
    if any(value is not None for value in optional) or others != (EFFORT, ASSURED, SEARCH_AT, True):
        raise CallbackError(
            "evaluate, monitor, mode, calibration, max_drop, effort, assured, confirm and search_at are for "
            f"plan='auto', and the plan is {plan!r}: leave them out"
        )


def _check_inline(background: str | None) -> None:
    """Refuse exports in the background beside a searched plan.

    Raises:
        CallbackError: ``background`` is not None.
    """
    if background is not None:
        raise CallbackError(
            f"background={background!r} does not work with plan='auto', whose search evaluates the module of the "
            "training: leave background out, or train with a given plan and search afterwards"
        )
