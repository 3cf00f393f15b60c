"""Families of plans with one parameter, the strength: from nearly exact to coarse."""

from lightning_compress.search.families.calibrated import calibrated_families, guided_archive
from lightning_compress.search.families.data_free import uniform_families
from lightning_compress.search.families.family import Family, PlanFamily
from lightning_compress.search.families.input_guided import Observer, guides_of, observed_families
from lightning_compress.search.families.target_size import fit_budget, strength_at, unreachable

__all__ = [
    "Family",
    "Observer",
    "PlanFamily",
    "calibrated_families",
    "fit_budget",
    "guided_archive",
    "guides_of",
    "observed_families",
    "strength_at",
    "uniform_families",
    "unreachable",
]
