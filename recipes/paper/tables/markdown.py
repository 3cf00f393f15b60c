"""Markdown tables and their cells; what was not measured is an empty cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recipes.paper.results.rows import Compared


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is left-aligned, numbers are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(share: float | None) -> str:
    """A fraction in percent, with as many places as it needs and at most two: ``98 %``, ``99.25 %``."""
    return "" if share is None else f"{round(100 * share, 2):g} %"


def signed(change: float | None) -> str:
    """A change of BLEU with its sign."""
    return "" if change is None else f"{round(change, 2) + 0.0:+.2f}"


def number(value: float | None) -> str:
    """BLEU, to two places."""
    return "" if value is None else f"{value:.2f}"


def times(ratio: float | None) -> str:
    """A ratio of sizes."""
    return "" if ratio is None else f"{ratio:.2f}×"


def count(value: int | None) -> str:
    """An integer with thousands separators."""
    return "" if value is None else f"{value:,}"


def change(measured: Compared | None) -> str:
    """The change of BLEU, bold where it is significant."""
    if measured is None or measured.change is None:
        return ""
    text = signed(measured.change)
    return f"**{text}**" if measured.significant else text


def interval(measured: Compared | None) -> str:
    """:func:`change` and its 95 % interval."""
    if measured is None or measured.low is None or measured.high is None:
        return change(measured)
    return f"{change(measured)} [{signed(-measured.high)}, {signed(-measured.low)}]"
