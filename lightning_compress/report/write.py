"""Writes the page to a file."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path

from lightning_compress.archive import Entry
from lightning_compress.charts.style import chart_style
from lightning_compress.files import check_replaceable, read_prefix, replace_file
from lightning_compress.files.companion_names import EARLIER_SUFFIX
from lightning_compress.report.contents import ReportContents, collect
from lightning_compress.report.page import MARK, render_page, template_environment


def default_page(source: Path) -> Path:
    """Where the page about a folder or a file is written if no path is given.

    >>> default_page(Path("runs/best.compressed.safetensors")).as_posix()
    'runs/best.report.html'
    """
    if source.is_dir():
        return source / "report.html"
    return source.with_name(source.name.removesuffix(EARLIER_SUFFIX).removesuffix(".compressed") + ".report.html")


def write_report(
    source: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    on_tensor: Callable[[Entry], None] | None = None,
) -> ReportContents:
    """Write a page about a compressed file, or about all files of a run.

    Args:
        source: the file or the folder.
        out: path of the page (.html); an existing report of this package is replaced. By default ``report.html`` in the
            folder, or ``NAME.report.html`` beside the file.
        on_tensor: called after each decoded tensor, for progress.

    Returns:
        The contents of the page, including the list of files that were left out.

    Raises:
        ChartError: matplotlib or jinja2 is not installed.
        FormatError: the single file, or every file in the folder, is damaged or foreign.
        ForeignFileError: ``out`` is a file of another program.
        OSError: there is nothing to report, or the page cannot be written.
    """
    target = default_page(Path(fspath(source))) if out is None else Path(fspath(out))
    template_environment()  # fail early: this and the following checks run before the slow work
    with chart_style():
        pass
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: create it, or write elsewhere")
    check_replaceable(str(target), target.exists(), _is_report)
    contents = collect(Path(fspath(source)), on_tensor)
    # A name may contain a lone surrogate, which cannot be encoded.
    html = render_page(contents).encode("utf-8", errors="replace")
    replace_file(str(target), [html], check=lambda written: None, is_ours=_is_report)
    return contents


def _is_report(path: str) -> bool:
    return read_prefix(path, len(MARK)) == MARK.encode()
