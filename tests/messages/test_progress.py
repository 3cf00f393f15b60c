"""Progress is shown on a terminal only."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lightning_compress.messages import progress


@pytest.mark.parametrize(
    ("enabled", "terminal", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_the_bar_is_shown_on_a_terminal_if_enabled(monkeypatch, enabled, terminal, shown):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with progress.progress_bar(enabled, 16) as update:
        update(3, "12,345 bytes, score 34.2 of 35.0")
    assert ("3/16" in out.getvalue() and "12,345 bytes" in out.getvalue()) == shown
    assert shown or not out.getvalue()


@pytest.mark.parametrize(
    ("enabled", "terminal", "shown"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_the_spinner_is_shown_on_a_terminal_if_enabled(monkeypatch, enabled, terminal, shown):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    monkeypatch.setattr("rich.console.Console", lambda **_: console)
    with progress.spinner(enabled, "compressing the checkpoint"):
        pass
    assert ("compressing the checkpoint" in out.getvalue()) == shown
    assert shown or not out.getvalue()


def test_without_rich_there_is_no_progress_and_no_error(monkeypatch, capsys):
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with progress.progress_bar(True, 16) as update, progress.spinner(True, "compressing"):
        update(3, "text")
    assert capsys.readouterr().err == ""
