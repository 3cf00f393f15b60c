"""What files of large models take, from the measured rates of ``docs/results.md``: the table of ``docs/scale.md``.

    python -m benchmarks.speed.scale

A row of the measured table gives seconds for each byte of float32 weights, written, read back and compared, and read.
Where several ranks code together, coding is divided among them; reading back is not, since rank 0 does it alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "docs" / "results.md"
METHODS = {
    "half": "`half`",
    "paper-transformer": "`paper-transformer`",
    "grid, trellis of 8": "grids with trellis",
    "grid, trellis of 8, feedback": "the same with feedback",
    "lossless": "`exact`",
}
MODELS = {"7 B": 7_000_000_000, "70 B": 70_000_000_000}
RANKS = 8
_ROW = re.compile(r"\| (.+), (\d) threads? \| [\d,]+ \| ([\d.]+) \| \S+ \| (\d+) \| \S+ \| (\d+) \|")


@dataclass(frozen=True)
class Rates:
    """Of one method and number of threads.

    Attributes:
        share: bytes of the file for each byte of float32 weights.
        write: MB of weights a second, reading back included.
        read: MB of weights a second.
    """

    share: float
    write: float
    read: float


def measured_rates(text: str) -> dict[tuple[str, int], Rates]:
    """Method and threads → rates, from the table in a page."""
    return {
        (row[1], int(row[2])): Rates(float(row[3]), float(row[4]), float(row[5]))
        for row in map(_ROW.match, text.splitlines())
        if row
    }


def rows(rates: dict[tuple[str, int], Rates]) -> list[str]:
    """The lines of the table."""
    lines = [
        f"| model | plan | file | one thread | two threads | {RANKS} ranks together | load, one thread | two threads |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, weights in MODELS.items():
        megabytes = weights * 4 / 1e6
        for method, shown in METHODS.items():
            one, two = rates[method, 1], rates[method, 2]
            coding = megabytes / one.write - megabytes / one.read
            together = coding / RANKS + megabytes / one.read
            seconds = [
                megabytes / one.write,
                megabytes / two.write,
                together,
                megabytes / one.read,
                megabytes / two.read,
            ]
            size = f"{megabytes * one.share / 1000:.3g} GB"
            lines.append(f"| {model} | {shown} | {size} | {' | '.join(map(_minutes, seconds))} |")
    return lines


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes >= 10 else f"{minutes:.1f} min"


if __name__ == "__main__":
    print("\n".join(rows(measured_rates(RESULTS.read_text()))))
