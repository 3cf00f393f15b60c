"""Bayesian optimization of compressed files. How :func:`smallest` chooses the file that it evaluates next:

1. :mod:`.smallest_file` scores the exact weights twice and makes the families of plans (:mod:`..families`).
2. :mod:`.bayesian_optimization` runs the loop over one family: steps 3 to 6, until nothing is expected to improve.
3. :mod:`.trials` gives the trials that inform the family, and the incumbent: the smallest feasible file so far.
4. :mod:`.search_space` draws candidates: all parts stronger together, or a good trial with one or two parts changed.
5. :mod:`.surrogate`, a Gaussian process over the trials, gives each candidate a probability of feasibility.
6. :mod:`.acquisition` multiplies it by the bytes saved; the candidate with the most expected improvement is evaluated.
7. With ``max_bytes`` instead, :mod:`.coordinate_search` exchanges bytes between parts while the score rises.
"""

from lightning_compress.search.optimize.smallest_file import smallest

__all__ = [
    "smallest",
]
