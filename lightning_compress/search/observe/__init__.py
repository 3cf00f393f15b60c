"""What an evaluation of the exact weights shows: the inputs of each matrix and how often its rows are used."""

from lightning_compress.search.observe.observer import Watching
from lightning_compress.search.observe.statistics import Observation

__all__ = [
    "Observation",
    "Watching",
]
