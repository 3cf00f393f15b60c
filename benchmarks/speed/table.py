"""Runs the methods in turn, and tabulates medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.speed.methods import Method, State, Timing

HEAD = (
    "| method | bytes | of fp32 | squared error | write, MB/s | time / torch.save | read, MB/s | time / torch.load |",
    "|---|---|---|---|---|---|---|---|",
)


def measured(
    methods: Sequence[Method], state: State, folder: Path, runs: int, told: Callable[[str], None]
) -> dict[str, list[Timing]]:
    """The timings of each method: in each run, every method takes its turn, so that all meet the same load.

    A run before the first one, which is not counted, compiles and loads what is needed. A method that raises is left
    out, and its error is told.

    Raises:
        RuntimeError: the first method, which the others are compared with, cannot be measured.
    """
    found: dict[str, list[Timing]] = {}
    failed: set[str] = set()
    for run in range(runs + 1):
        for method in methods:
            if method.name in failed:
                continue
            try:
                timing = method.run(state, folder)
            except Exception as error:
                failed.add(method.name)
                told(f"skipped {method.name}: {error}")
                if method is methods[0]:
                    raise RuntimeError(f"{method.name} is what the others are compared with") from error
                continue
            if run:
                found.setdefault(method.name, []).append(timing)
        told(f"run {run} of {runs} is done")
    return found


def rows(found: dict[str, list[Timing]], reference: str, nbytes: int) -> Iterator[str]:
    """The table: rates are medians; ratios are medians of those within each run.

    Args:
        found: timings of each method, one for each run.
        reference: the method that ratios are relative to.
        nbytes: of the weights in float32.
    """
    yield from HEAD
    for name, timings in found.items():
        encode, decode = ([getattr(t, side) for t in timings] for side in ("encode", "decode"))
        ratios = [
            statistics.median(own / getattr(other, side) for own, other in zip(times, found[reference], strict=True))
            for side, times in (("encode", encode), ("decode", decode))
        ]
        rates = [nbytes / 1e6 / statistics.median(times) for times in (encode, decode)]
        last = timings[-1]
        yield (
            f"| {name} | {last.nbytes:,} | {last.nbytes / nbytes:.4f} | {last.error:.3g} "
            f"| {rates[0]:.0f} | {ratios[0]:.2f} | {rates[1]:.0f} | {ratios[1]:.2f} |"
        )
