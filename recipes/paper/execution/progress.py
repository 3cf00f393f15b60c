"""How far an experiment is, on a terminal."""

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
        tell: shows what is measured now.
        expect: begins an experiment: its name, and of how many parts it is.
        advance: one part is done.
    """

    tell: Callable[[str], None]
    expect: Callable[[str, int], None]
    advance: Callable[[], None]


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Bar]:
    """A bar on the error stream, where that is a terminal and quiet is not asked for."""
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
            tell=lambda what: progress.update(task, description=what),
            expect=lambda name, parts: progress.reset(task, total=parts, experiment=name),
            advance=lambda: progress.advance(task),
        )
