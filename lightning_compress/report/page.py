"""Renders the contents of a report as one HTML page. Texts from files are escaped; the page loads and runs nothing."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_compress.charts.style import bytes_text
from lightning_compress.errors import ChartError
from lightning_compress.report.contents import ReportContents
from lightning_compress.report.file_statistics import RestorationError
from lightning_compress.report.page_charts import PageCharts
from lightning_compress.report.scores import flat_metrics
from lightning_compress.report.verdict import MeasuredFile, measured_files, verdict_of

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = '<!doctype html>\n<meta name="generator" content="lightning-compress">'


def template_environment() -> Environment:
    """The Jinja environment with the filters of the page.

    Raises:
        ChartError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ChartError("a report needs jinja2: pip install lightning-compress[charts]") from error
    environment = Environment(
        loader=PackageLoader("lightning_compress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=_count, size=bytes_text, share=_share, number=_number, error=_error, breakable=_breakable
    )
    return environment


def render_page(contents: ReportContents) -> str:
    """The page as HTML.

    Raises:
        ChartError: jinja2 or matplotlib is not installed.
    """
    environment = template_environment()
    environment.filters["relative"] = lambda path: _relative(path, contents.source)
    template = environment.get_template("page.html")
    measured = measured_files(contents)
    verdict = verdict_of(measured)
    files = [_FileView(each, is_best=verdict is not None and each.file is verdict.best.file) for each in measured]
    return template.render(
        contents=contents,
        verdict=verdict,
        measured=measured,
        files=sorted(files, key=lambda each: not each.is_best),
        scored=any(not math.isnan(each.scores.before + each.scores.after) for each in files),
        charts=PageCharts(),
        mark=_markup(MARK),
        style=_markup(resources.files(__package__).joinpath("templates/style.css").read_text("utf-8")),
    )


class _FileView:
    """A file as the template uses it."""

    def __init__(self, measured: MeasuredFile, *, is_best: bool) -> None:
        self.file = file = measured.file
        self.is_best, self.scores = is_best, measured.scores
        self.metrics = flat_metrics(file.manifest.metrics)
        self.plan = yaml.safe_dump(dict(file.manifest.plan), sort_keys=False, allow_unicode=True)
        self.hyper_parameters = flat_metrics(file.manifest.hyper_parameters)

    def error(self, *, class_name: str | None = None, tensor: str | None = None) -> RestorationError | None:
        """The error of a class, a tensor, or the whole file; None without the exact weights."""
        errors = self.file.errors
        if not errors:
            return None
        entries = self.file.manifest.entries
        return RestorationError.total(
            errors[entry.name]
            for entry in entries
            if class_name in (None, entry.class_name) and tensor in (None, entry.name)
        )


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _relative(path: Path, folder: Path) -> str:
    """The path relative to the folder of the run."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else str(path)


def _breakable(name: str) -> Any:
    """The name with a line break opportunity after each dot."""
    return _markup(".<wbr>").join(name.split("."))


def _count(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _error(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}"
