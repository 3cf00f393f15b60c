"""Which parts of a model bear compression: each compressed alone, restored, and scored."""

from lightning_compress.search.sensitivity.layers.groups import GroupBy, check_groups
from lightning_compress.search.sensitivity.layers.strengths import STRENGTHS, Strength, strengths_of
from lightning_compress.search.sensitivity.layers.sweep import layer_sensitivities
from lightning_compress.search.sensitivity.layers.table import LayerSensitivities

__all__ = [
    "STRENGTHS",
    "GroupBy",
    "LayerSensitivities",
    "Strength",
    "check_groups",
    "layer_sensitivities",
    "strengths_of",
]
