"""Every script of the cookbook runs as it is, shows what its page says, and adds at most three lines of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fresh_process import in_fresh_process
from scripts import FOLDER, NEEDS, SCRIPTS, lines_of_ours, run_script

NUMBER = re.compile(r"[−+±]?\d[\d,.]*")  # a change may have another sign elsewhere


def sentences(output: str) -> set[str]:
    """The lines of an output without their numbers, which differ between machines."""
    return {NUMBER.sub("#", line) for line in output.splitlines()}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_what_its_page_says(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{name}.py needs {NEEDS[name]}")
    output = in_fresh_process(run_script, name, tmp_path)
    assert sentences(output) == sentences((FOLDER / "output" / f"{name}.txt").read_text("utf-8"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_page_marks_at_most_three_lines_of_ours(name: str) -> None:
    page, lines = (FOLDER / f"{name}.md").read_text("utf-8"), lines_of_ours(name)
    assert 1 <= len(lines) <= 3
    assert f'hl_lines="{" ".join(map(str, lines))}" }}\n--8<-- "{name}.py"' in page
    assert f'--8<-- "output/{name}.txt"' in page


def test_the_cookbook_lists_every_script() -> None:
    listed = re.findall(r"\]\((\w+)\.md\)", (FOLDER / "index.md").read_text("utf-8"))
    assert sorted(listed) == SCRIPTS
