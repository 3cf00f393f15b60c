"""How a training step treats weights and their quantized values: which it computes with, and what draws both together.

From top to bottom: ``settings`` (all of them), ``learned_steps`` (steps of grids as parameters), ``treated`` (the
tensors), ``noise`` (a random share is quantized) and ``update`` (straight-through, proximal, penalty).
"""
