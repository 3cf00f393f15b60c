"""Where the next measurement promises most.

A measurement promises the bytes that it would save, times the probability that its file holds: the *expected
improvement*, which finds the best in few tries where measurements are noisy (Jones et al. 1998, "Efficient global
optimization of expensive black-box functions").
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lightning_compress.search.optimize.search_space import Option
from lightning_compress.search.optimize.surrogate import Measured, chances


def most_promising(
    known: Measured, options: Sequence[Option], to_beat: float, tolerance: float, worth: float
) -> Option | None:
    """The option to measure next.

    Args:
        known: what was measured.
        options: what can be.
        to_beat: logarithm of the bytes that a file must have fewer of.
        tolerance: difference in size that is not worth a measurement: nothing that near to a known file is measured.
        worth: share of the tolerance that must be promised.
    """
    if not options:
        return None
    places = torch.tensor([option.place for option in options], dtype=torch.float64)
    saved = to_beat - torch.tensor([option.size for option in options], dtype=torch.float64)
    promised = saved * chances(known, places)
    distances = torch.cdist(places, known.places, p=math.inf)
    promised[distances.amin(1) < tolerance] = 0
    best = int(promised.argmax())
    return options[best] if float(promised[best]) > worth * tolerance else None
