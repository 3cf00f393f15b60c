"""Findings → one HTML page. All that files say is escaped, and the page may load nothing and run nothing."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lightning_compress.charts.style import bytes_text
from lightning_compress.errors import ChartError
from lightning_compress.report.collect import Findings
from lightning_compress.report.examine import Distance, Examined
from lightning_compress.report.pictures import Pictures
from lightning_compress.report.scores import Scores, facts

if TYPE_CHECKING:
    from jinja2 import Environment

MARK = '<!doctype html>\n<meta name="generator" content="lightning-compress">'


def environment() -> Environment:
    """What the page is made with.

    Raises:
        ChartError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ChartError("a report needs jinja2: pip install lightning-compress[charts]") from error
    made = Environment(
        loader=PackageLoader("lightning_compress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(count=_count, size=bytes_text, share=_share, number=_number, error=_error, breakable=_breakable)
    return made


def page(findings: Findings) -> str:
    """The page.

    Raises:
        ChartError: jinja2 or matplotlib is not installed.
    """
    made = environment()
    made.filters["below"] = lambda path: _below(path, findings.source)
    template = made.get_template("page.html")
    files = [_File(each) for each in findings.files]
    return template.render(
        found=findings,
        files=files,
        scored=any(not math.isnan(each.scores.before + each.scores.after) for each in files),
        pictures=Pictures(),
        mark=_markup(MARK),
        style=_markup(resources.files(__package__).joinpath("templates/style.css").read_text("utf-8")),
    )


class _File:
    """A file as the template asks for it."""

    def __init__(self, file: Examined) -> None:
        self.file = file
        self.scores = Scores.of(file.manifest.metrics)
        self.facts = facts(file.manifest.metrics)
        self.plan = yaml.safe_dump(dict(file.manifest.plan), sort_keys=False, allow_unicode=True)
        self.hyper_parameters = facts(file.manifest.hyper_parameters)

    def distance(self, *, class_name: str | None = None, tensor: str | None = None) -> Distance | None:
        """Of a class, a tensor, or all; None without the exact weights."""
        known = self.file.distances
        if not known:
            return None
        entries = self.file.manifest.entries
        return Distance.total(
            known[entry.name]
            for entry in entries
            if class_name in (None, entry.class_name) and tensor in (None, entry.name)
        )


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _below(path: Path, folder: Path) -> str:
    """A path as seen from the folder of the run."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else str(path)


def _breakable(name: str) -> Any:
    """A name that lines may break behind its dots."""
    return _markup(".<wbr>").join(name.split("."))


def _count(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _error(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}"
