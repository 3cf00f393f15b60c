"""Which parts of a model bear compression: each compressed alone, restored, and scored."""

from lightning_compress.search.layers.groups import GroupBy
from lightning_compress.search.layers.strengths import STRENGTHS, Strength
from lightning_compress.search.layers.sweep import layer_sensitivities
from lightning_compress.search.layers.table import LayerSensitivities

__all__ = ["STRENGTHS", "GroupBy", "LayerSensitivities", "Strength", "layer_sensitivities"]
