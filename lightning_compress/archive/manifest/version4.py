"""Format version 4: the manifest of version 3, in a file that other programs do not take for weights.

Two things keep a loader of plain safetensors files from using the coded bytes as weights, and from ignoring them:

* The first record of the header is the lock, an empty tensor of a dtype that the safetensors format has and no array
  library. It has the name of the largest small tensor. A loader that reads all tensors fails at it, whatever their
  names; so does one that reads the tensors of its model by their names.
* The part of a large tensor has the name of the tensor and another number of dimensions, so a loader that reads it by
  its name fails at its shape.
"""

from __future__ import annotations

from dataclasses import replace

from lightning_compress.archive.manifest import version2, version3
from lightning_compress.archive.manifest.spec import Manifest, Part

LOCK = Part("#lock", 0, (0,), "F6_E2M3")

to_json = version3.to_json


def from_json(body: object) -> Manifest:
    """Parse and check the manifest; errors as for version 3."""
    return replace(version3.from_json(body), format_version=4)


def records(manifest: Manifest) -> list[Part]:
    """Every tensor of the safetensors file, in the order of the file."""
    small = [entry for entry in manifest.entries if entry.coded_bytes < version2.SMALL_BYTES]
    largest = max(small, key=lambda entry: entry.elements, default=None)
    lock = LOCK if largest is None else LOCK._replace(key=largest.key)
    dimensions = {entry.key: len(entry.shape) for entry in manifest.entries}
    return [lock, *(part._replace(shape=_shape(part, dimensions)) for part in version2.records(manifest))]


def _shape(part: Part, dimensions: dict[str, int]) -> tuple[int, ...]:
    """The shape of a part: that of a large tensor never has as many dimensions as the tensor."""
    if part.key not in dimensions:
        return part.shape
    return (1, 1, part.nbytes) if dimensions[part.key] == 2 else (1, part.nbytes)
