"""Checks of the arguments of a search, before anything is evaluated."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any, TypeGuard

from lightning_compress.errors import SearchError
from lightning_compress.weights import Weights

ASSURED = 0.85  # posterior probability that the true drop of a file is allowed, where nothing else is asked for


def check_assured(assured: object) -> float:
    """Refuse what is no probability from 0.5 to below 1.

    Returns:
        The probability as a ``float``.

    Raises:
        SearchError: another value.
    """
    if not _is_number(assured) or not 0.5 <= assured < 1:
        raise SearchError(
            f"assured is {assured!r}, expected a probability from 0.5 to below 1: give how sure the allowed drop is to "
            "be kept on other text, such as assured=0.9"
        )
    return float(assured)


def check_confirm(confirm: object, evaluate: object) -> Any:
    """Refuse what is neither a function nor True or False, and the evaluation of the search itself.

    Returns:
        ``confirm``.

    Raises:
        SearchError: another value.
    """
    if not (isinstance(confirm, bool) or callable(confirm)):
        raise SearchError(
            f"confirm is {confirm!r:.80}, expected a function: module → Score of items that evaluate does not score"
        )
    if confirm is evaluate:
        raise SearchError(
            "confirm is the same function as evaluate: a file is confirmed on items that the search never reads, so "
            "give a function that scores other items"
        )
    return confirm


def check_max_bytes(max_bytes: object) -> int:
    """Refuse what is no positive whole number.

    Returns:
        The number as an ``int``; ``1e6`` is a whole number too.

    Raises:
        SearchError: another value.
    """
    if not _is_number(max_bytes) or not 1 <= max_bytes < math.inf or max_bytes != int(max_bytes):
        raise SearchError(
            f"max_bytes is {max_bytes!r}, expected a whole number of bytes from 1: give the size of the file, such as "
            "max_bytes=2_000_000"
        )
    return int(max_bytes)


def check_min_score(min_score: object) -> None:
    """Refuse what is no finite number.

    Raises:
        SearchError: another value.
    """
    if not _is_number(min_score) or not math.isfinite(min_score):
        raise SearchError(
            f"min_score is {min_score!r}, expected a finite number: give the lowest score that the file may have, or "
            "leave it out"
        )


def check_search(min_score: object, families: object, weights: object, exclude: object, classes: object) -> None:
    """Refuse wrong arguments of :func:`smallest`; module, calibration and effort are checked elsewhere.

    Raises:
        SearchError: the first wrong one.
    """
    if min_score is not None:
        check_min_score(min_score)
    if families is not None and not callable(families):
        raise SearchError(f"families is {families!r}, expected a function: weights → a list of families")
    check_weights(weights, exclude, classes)


def check_weights(weights: object, exclude: object, classes: object) -> None:
    """Refuse what is no :class:`Weights`, wrong patterns, and patterns beside weights.

    Raises:
        SearchError: the first wrong one.
    """
    _check_patterns(exclude, classes)
    if weights is None:
        return
    if not isinstance(weights, Weights):
        raise SearchError(
            f"weights is a {type(weights).__name__}, expected Weights: make them with Weights.from_state_dict(…)"
        )
    if exclude or classes:
        given = "exclude" if exclude else "classes"
        raise SearchError(f"{given} is {exclude or classes!r}, expected nothing beside weights: give it to Weights")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False.

    Raises:
        SearchError: another value.
    """
    if not isinstance(value, bool):
        raise SearchError(f"{name} is {value!r:.80}, expected True or False")


def check_name(name: str, value: object) -> None:
    """Refuse what is no text, or empty.

    Raises:
        SearchError: another value.
    """
    if not isinstance(value, str) or not value:
        raise SearchError(f"{name} is {value!r:.80}, expected a name such as 'val_bleu'")


def check_batches(name: str, value: object) -> None:
    """Refuse what is no whole number from 1.

    Raises:
        SearchError: another value.
    """
    if type(value) is not int or value < 1:
        raise SearchError(f"{name} is {value!r:.80}, expected a whole number from 1")


def _check_patterns(exclude: object, classes: object) -> None:
    if not _are_patterns(exclude):
        raise SearchError(f"exclude is {exclude!r}, expected a list of patterns: write exclude=['teacher.*']")
    if classes is None:
        return
    pairs = classes.items() if isinstance(classes, Mapping) else ((None, None),)
    if not all(isinstance(name, str) and (isinstance(value, str) or _are_patterns(value)) for name, value in pairs):
        raise SearchError(
            f"classes is {classes!r}, expected class name → pattern or list of patterns: write "
            "classes={'head': ['head.*']}"
        )


def _are_patterns(value: object) -> bool:
    if not isinstance(value, Collection) or isinstance(value, (str, bytes, Mapping)):
        return False
    return all(isinstance(pattern, str) for pattern in value)


def _is_number(value: object) -> TypeGuard[float]:
    return not isinstance(value, bool) and isinstance(value, Real)
