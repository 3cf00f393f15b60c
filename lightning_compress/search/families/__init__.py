"""One-parameter families of plans, and their archives by strength or by size.

:mod:`.data_free` needs weights alone; :mod:`.input_guided` adds statistics of an evaluation; :mod:`.calibrated` takes
calibration data. :mod:`.family` is the interface of all.
:mod:`.byte_prediction` predicts sizes from a sample of rows, and :mod:`.target_size` finds the strength for a size.
"""

from lightning_compress.search.families.calibrated import calibrated_archive, calibrated_families
from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.families.family import Family, PlanFamily
from lightning_compress.search.families.input_guided import Observer, grid_guides, input_guided_families
from lightning_compress.search.families.target_size import fit_bytes, strength_for, unreachable

__all__ = [
    "Family",
    "Observer",
    "PlanFamily",
    "calibrated_archive",
    "calibrated_families",
    "fit_bytes",
    "grid_guides",
    "input_guided_families",
    "strength_for",
    "uniform_families",
    "unreachable",
]
