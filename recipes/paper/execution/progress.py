"""Progress of an experiment, shown on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Bar:
    """A progress bar.

    Attributes:
        describe: shows the point that is being measured.
        start: begins an experiment, given its name and number of parts.
        advance: counts one part as done.
    """

    describe: Callable[[str], None]
    start: Callable[[str, int], None]
    advance: Callable[[], None]


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Bar]:
    """A bar on standard error, unless that is not a terminal or ``quiet`` is set."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[experiment]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=None, experiment="the exact weights")
        yield Bar(
            describe=lambda what: progress.update(task, description=what),
            start=lambda name, parts: progress.reset(task, total=parts, experiment=name),
            advance=lambda: progress.advance(task),
        )
