"""Lossless codes for streams of unsigned words."""

from lightning_compress.coding.choose import CODERS, decode, encode
from lightning_compress.coding.coder import Coder, Statistics

__all__ = ["CODERS", "Coder", "Statistics", "decode", "encode"]
