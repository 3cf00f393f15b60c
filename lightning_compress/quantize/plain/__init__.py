"""Methods that keep every value: in its own type, or in 16 bits."""

from lightning_compress.quantize.plain.half import Half, HalfPayload
from lightning_compress.quantize.plain.raw import Raw, RawPayload

__all__ = [
    "Half",
    "HalfPayload",
    "Raw",
    "RawPayload",
]
