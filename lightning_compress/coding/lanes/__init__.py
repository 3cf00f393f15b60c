"""Range ANS in lanes that decode side by side: the coder of most streams."""

from lightning_compress.coding.lanes.coder import Lanes

__all__ = ["Lanes"]
