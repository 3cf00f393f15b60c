"""The file format: a valid safetensors file of coded streams and one manifest, specified in docs/format.md."""

from lightning_compress.archive.archive import Archive
from lightning_compress.archive.encode import decode_tensor, encode_asset, encode_tensor
from lightning_compress.archive.manifest.spec import Asset, Entry, Manifest
from lightning_compress.archive.reader import is_archive
from lightning_compress.archive.report import ClassReport, ModuleReport, Report, TensorReport
from lightning_compress.archive.streams import SpooledStreams

__all__ = [
    "Archive",
    "Asset",
    "ClassReport",
    "Entry",
    "Manifest",
    "ModuleReport",
    "Report",
    "SpooledStreams",
    "TensorReport",
    "decode_tensor",
    "encode_asset",
    "encode_tensor",
    "is_archive",
]
