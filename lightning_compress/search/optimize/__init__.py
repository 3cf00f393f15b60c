"""Bayesian optimization: which candidate is measured next, and which file is returned."""

from lightning_compress.search.optimize.smallest_file import smallest

__all__ = [
    "smallest",
]
