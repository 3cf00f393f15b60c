"""Progress of what takes many evaluations, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[int, str], None]


@contextmanager
def progress_bar(wanted: bool, evaluations: int, title: str = "searching") -> Iterator[Advance]:
    """A bar on the error stream, where that is a terminal; gives the function that moves it: evaluations, a text."""
    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("evaluations"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not wanted or not console.is_terminal) as progress:
        task = progress.add_task("", total=evaluations)
        yield lambda done, text: progress.update(task, completed=done, description=text)


@contextmanager
def spinner(wanted: bool, what: str) -> Iterator[None]:
    """A sign of life on the error stream, where that is a terminal, for work that does not know its length."""
    console = Console(stderr=True)
    if not wanted or not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
