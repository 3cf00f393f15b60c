"""How much of a score a file may lose: in the unit of the score, or as a share of it."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from numbers import Real

from lightning_compress.errors import SearchError

SUSPICIOUS = 0.05  # share of a score; who allows more than this may have another unit in mind
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaxDrop:
    """The largest loss of score that is allowed.

    Attributes:
        amount: in the unit of the score; with ``is_share``, the fraction of the score of the exact weights.
        is_share: whether it is such a fraction.
    """

    amount: float
    is_share: bool = False

    @classmethod
    def parse(cls, value: object) -> MaxDrop:
        """A number from 0 in the unit of the score, or a percentage of the score such as ``"1%"``.

        Raises:
            SearchError: another value.
        """
        if isinstance(value, MaxDrop):
            return value
        is_share = isinstance(value, str) and value.rstrip().endswith("%")
        amount = _number_in(str(value).rstrip()[:-1]) if is_share else _number(value)
        if amount is None or amount < 0 or (is_share and not amount < 100):
            raise SearchError(
                f"max_drop is {value!r:.80}, expected a finite number from 0 in the unit of the score, such as 0.3, or "
                "a share of the score below 100 %, such as '1%'"
            )
        return cls(amount / 100 if is_share else amount, is_share)

    @classmethod
    def of(cls, value: object, metric: str) -> MaxDrop:
        """What is given, else what is allowed for a metric; errors as for :meth:`parse` and :meth:`of_metric`.

        Args:
            value: None where nothing is given.
            metric: name of the metric, or of the function that evaluates; see :func:`name_of`.
        """
        return cls.of_metric(metric) if value is None else cls.parse(value)

    @classmethod
    def from_text(cls, text: str) -> MaxDrop:
        """Either, as it is written on a command line; errors as for :meth:`parse`."""
        number = _number_in(text)
        return cls.parse(text if number is None else number)

    @classmethod
    def of_metric(cls, name: str) -> MaxDrop:
        """What is allowed for a metric if nothing is given: 1 % of BLEU.

        Raises:
            SearchError: the metric is not BLEU. What may be lost of another one depends on its unit.
        """
        if "bleu" not in name.lower():
            raise SearchError(
                f"max_drop is needed: how much of {name!r} the file may lose, in its own unit (max_drop=0.01), or as a "
                "share of it (max_drop='1%')"
            )
        return cls(0.01, is_share=True)

    def in_unit_of(self, score: float) -> float:
        """The drop that is allowed from this score of the exact weights, in the unit of the score."""
        return self.amount * abs(score) if self.is_share else self.amount

    def warn_if_large(self, score: float) -> None:
        """Log a warning if a drop that was given in the unit of the score is a large part of this score."""
        if not self.is_share and math.isfinite(self.amount + score) and self.amount > SUSPICIOUS * abs(score):
            part = f"{self.amount / abs(score):.0%}" if score else "all"
            _log.warning(
                "max_drop=%g allows the file to lose %s of the score %.4g: if that is not meant, give a share of the "
                "score, such as '1%%'",
                self.amount,
                part,
                score,
            )


def name_of(evaluate: object) -> str:
    """The name of a function that evaluates, or of the class of an object that does."""
    while isinstance(evaluate, partial):
        evaluate = evaluate.func
    return str(getattr(evaluate, "__name__", type(evaluate).__name__))


def _number(value: object) -> float | None:
    """A finite number; None for anything else, a bool included."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        return None
    return float(value)


def _number_in(text: str) -> float | None:
    try:
        return _number(float(text))
    except ValueError:
        return None
