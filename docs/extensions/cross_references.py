"""Turns the roles of docstrings, ``:class:`~package.Name```, into links of the API reference, or into code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

PACKAGE = "lightning_compress"
ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`(~?)([\w.]+)`")


def as_markdown(match: re.Match[str]) -> str:
    """The role as code; a link if the name is given from the package on."""
    shortened, path = match.groups()
    text = path.rpartition(".")[2] if shortened else path
    if not path.startswith(f"{PACKAGE}."):
        return f"`{text}`"
    return f'<autoref identifier="{path}" optional><code>{text}</code></autoref>'


class CrossReferences(Extension):
    """Rewrites the docstring of each object that is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(as_markdown, obj.docstring.value)
