"""One evaluated archive."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_compress.archive import Archive
from lightning_compress.search.evaluate.bootstrap import Drop
from lightning_compress.search.evaluate.half_samples import Floats
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.families.family import Family


@dataclass(frozen=True, eq=False)
class Trial:
    """One evaluated archive.

    Attributes:
        family: whose archive it is, with the offsets of its parts; None for plain storage.
        strength: of the archive in its family.
        nbytes: of the file.
        score: as evaluated.
        drop: of the score below that of the exact weights.
        half_differences: as :meth:`.HalfSamples.differences` gives them.
        usual_drop: as :meth:`.HalfSamples.usual_drop` gives it; None where it is unknown.
        divergence: of the file's outputs from those of the exact weights; None where it is unknown.
        archive: None once the trial cannot be returned any more.
    """

    family: Family | None
    strength: float
    nbytes: int
    score: Score
    drop: Drop
    half_differences: Floats | None = None
    usual_drop: float | None = None
    divergence: float | None = None
    archive: Archive | None = None
