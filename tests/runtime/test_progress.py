"""Progress goes to a terminal, and nowhere else."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lightning_compress.runtime import progress


@pytest.mark.parametrize(
    ("wanted", "terminal", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_it_is_shown_on_a_terminal_where_wanted(monkeypatch, wanted, terminal, shown):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    with progress.progress_bar(wanted, 16) as tell:
        tell(3, "12,345 bytes, score 34.2 of 35.0")
    assert ("3/16" in out.getvalue() and "12,345 bytes" in out.getvalue()) == shown
    assert shown or not out.getvalue()


@pytest.mark.parametrize(
    ("wanted", "terminal", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_work_of_unknown_length_shows_what_it_is(monkeypatch, wanted, terminal, shown):
    out = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=out, force_terminal=terminal, width=120))
    with progress.spinner(wanted, "compressing the checkpoint"):
        pass
    assert ("compressing the checkpoint" in out.getvalue()) == shown
    assert shown or not out.getvalue()
