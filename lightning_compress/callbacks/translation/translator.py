"""What a module must have for its translations to be measured without further arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Translator(Protocol):
    """A module that translates."""

    def validation_text(self) -> tuple[Sequence[str], Sequence[str]]:
        """Sources, and one reference for each."""

    def translate(self, sources: Sequence[str]) -> Sequence[str]:
        """One translation for each source; it may take ``beam`` as well."""
