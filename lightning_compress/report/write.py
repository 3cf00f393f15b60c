"""The page as a file."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path

from lightning_compress.archive import Entry
from lightning_compress.charts.style import drawing
from lightning_compress.files.storage import read_start, refuse_foreign, replace_file
from lightning_compress.report.collect import Findings, find
from lightning_compress.report.page import MARK, environment, page


def write_report(
    source: str | PathLike[str], out: str | PathLike[str], *, on_tensor: Callable[[Entry], None] | None = None
) -> Findings:
    """Write a page about a compressed file, or about all that a run has left in a folder.

    Args:
        source: the file or the folder.
        out: the page (.html); an existing one is replaced if it is a report of this package.
        on_tensor: called after each decoded tensor, for progress.

    Returns:
        What the page is made of, with the files that were left out.

    Raises:
        ChartError: matplotlib or jinja2 is not installed.
        FormatError: a single file that is damaged or none of ours; a folder in which all are.
        ForeignFileError: something else stands at ``out``.
        OSError: nothing to report, or the page cannot be written.
    """
    target = Path(fspath(out))
    environment()  # this, and what follows, before the work, which takes a while
    with drawing():
        pass
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: create it, or write elsewhere")
    refuse_foreign(str(target), target.exists(), _is_report)
    findings = find(Path(fspath(source)), on_tensor)
    # A name may hold half of a character pair, which no encoding has.
    content = page(findings).encode("utf-8", errors="replace")
    replace_file(str(target), [content], check=lambda written: None, is_ours=_is_report)
    return findings


def _is_report(path: str) -> bool:
    return read_start(path, len(MARK)) == MARK.encode()
