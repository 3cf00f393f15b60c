"""Many cases in one test: quicker to collect and run than a test for each, and a failure names its case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming(case: object) -> Iterator[None]:
    """Name the case in the message of whatever fails in the block."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"case {case!r}: {type(error).__name__}: {error}") from error
