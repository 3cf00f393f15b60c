"""Weights in units of their row's step, and what the points of the grid nearest to them restore."""

from lightning_compress.quantize.grid.steps.division import LARGEST, in_steps, nearest_values, within

__all__ = ["LARGEST", "in_steps", "nearest_values", "within"]
