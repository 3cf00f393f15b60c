"""Figures as part of a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lightning_compress.charts import to_svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_TAG = re.compile(r"<[^<>]+>")  # texts and attributes hold neither character unescaped
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
_NAME = re.compile(r'\b(id="|url\(#|href="#)')
_OUTER = re.compile(r' (?:width|height|version|xmlns(?::xlink)?)="[^"]*"')


def inline_svg(figure: Figure, name: str, described: str) -> Markup:
    """The figure as an ``<svg>`` element that grows and shrinks with the page.

    Args:
        figure: what to draw.
        name: of letters and digits, unlike all others of the page: ids in the picture begin with it.
        described: what it shows, for readers who do not see it.
    """
    from markupsafe import Markup

    document = to_svg(figure)
    body = _STYLE.sub("", document[document.index("<svg") :])
    body = _TAG.sub(lambda tag: _NAME.sub(rf"\1{name}-", tag[0].replace("xlink:href", "href")), body)
    opening, rest = body.split(">", 1)
    start = Markup('{}{} role="img" aria-label="{}">').format(
        Markup("<svg"), Markup(_OUTER.sub("", opening.removeprefix("<svg"))), described
    )
    return start + Markup(rest)
