"""Layer sensitivities: each group of weights is compressed alone, restored, and scored."""

from lightning_compress.search.sensitivity.layers.groups import GroupBy, check_groups
from lightning_compress.search.sensitivity.layers.sensitivity_table import LayerSensitivities
from lightning_compress.search.sensitivity.layers.strengths import STRENGTHS, Strength, strengths_of
from lightning_compress.search.sensitivity.layers.sweep import layer_sensitivities

__all__ = [
    "STRENGTHS",
    "GroupBy",
    "LayerSensitivities",
    "Strength",
    "check_groups",
    "layer_sensitivities",
    "strengths_of",
]
