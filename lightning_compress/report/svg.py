"""Figures as inline SVG elements of an HTML page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lightning_compress.charts import to_svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_TAG = re.compile(r"<[^<>]+>")  # texts and attributes contain neither character unescaped
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
_ID = re.compile(r'\b(id="|url\(#|href="#)')
_SIZE = re.compile(r' (?:width|height|version|xmlns(?::xlink)?)="[^"]*"')


def inline_svg(figure: Figure, prefix: str, label: str) -> Markup:
    """The figure as an ``<svg>`` element that scales with the page.

    Args:
        figure: the figure to draw.
        prefix: prefix of all ids in the element, of letters and digits; unique on the page.
        label: description of the figure for screen readers.
    """
    from markupsafe import Markup

    document = to_svg(figure)
    body = _STYLE.sub("", document[document.index("<svg") :])
    body = _TAG.sub(lambda tag: _ID.sub(rf"\1{prefix}-", tag[0].replace("xlink:href", "href")), body)
    opening, rest = body.split(">", 1)
    start = Markup('{}{} role="img" aria-label="{}">').format(
        Markup("<svg"), Markup(_SIZE.sub("", opening.removeprefix("<svg"))), label
    )
    return start + Markup(rest)
