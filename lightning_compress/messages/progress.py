"""Progress bar and spinner on the terminal, where rich is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

Advance = Callable[[int, str], None]


@contextmanager
def progress_bar(enabled: bool, evaluations: int, title: str = "searching") -> Iterator[Advance]:
    """A progress bar on the error stream, shown only if that is a terminal.

    Yields:
        A function that updates the bar, called with the number of completed evaluations and a text.
    """
    if not enabled or find_spec("rich") is None:
        yield lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("evaluations"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=evaluations)
        yield lambda done, text: progress.update(task, completed=done, description=text)


@contextmanager
def spinner(enabled: bool, text: str) -> Iterator[None]:
    """A spinner on the error stream for work of unknown length, shown only if that is a terminal."""
    if not enabled or find_spec("rich") is None:
        yield
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
