"""Files that other programs wrote: checkpoints of ``torch.save``, and safetensors files."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import safetensors.torch
from torch import Tensor

from benchmarks.reliability.fuzz.mutation import changed_bytes, changed_json
from benchmarks.reliability.fuzz.outcome import Comparison, Target, same
from benchmarks.reliability.fuzz.specimens import as_checkpoint, legacy_checkpoint, pickles, safetensors_file
from lightning_compress.errors import WeightsError
from lightning_compress.weights.reading.checkpoint import read_checkpoint

# Opcodes that make much of little: collections that hold each other twice, as keys, as items and as arguments.
_PIECES = (
    b"2\x86" * 40,
    b"(2\x91" * 40,
    b"K\x01\x85",
    b"2s",
    b"(u",
    b"\x8f(",
    b"\x90",
    b"\x91",
    b"R",
    b"\x81",
    b"b",
    b"2t",
)


def read_saved(random: Random) -> Comparison:
    """A checkpoint of ``torch.save`` with a changed pickle or changed bytes."""
    pickled = random.choice(pickles())
    if random.random() < 0.2:
        place = random.randrange(len(pickled))
        pickled = pickled[:place] + b"".join(random.choices(_PIECES, k=3)) + pickled[place:]
    if random.random() < 0.7:
        pickled = changed_bytes(random, pickled)
    data = (as_checkpoint if random.random() < 0.8 else legacy_checkpoint)(pickled)
    if random.random() < 0.2:
        data = changed_bytes(random, data)
    read = _read(data)
    return same(True, lambda: all(isinstance(name, str) for name in read))


def read_safetensors(random: Random) -> Comparison:
    """A safetensors file with a changed header or changed bytes; what is read must be what the library reads."""
    data = safetensors_file()
    (nbytes,) = struct.unpack("<Q", data[:8])
    if random.random() < 0.8:
        header = json.dumps(changed_json(random, json.loads(data[8 : 8 + nbytes]))).encode()
        data = struct.pack("<Q", len(header)) + header + data[8 + nbytes :]
    else:
        data = changed_bytes(random, data)
    read = _read(data)
    return same(_contents(read), lambda: _contents(safetensors.torch.load(data)))


def _read(data: bytes) -> dict[str, Tensor]:
    path = _place()
    path.write_bytes(data)
    return dict(read_checkpoint(str(path)).state)


def _contents(tensors: dict[str, Tensor]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        name: (
            str(tensor.dtype),
            tuple(tensor.shape),
            tensor.contiguous().untyped_storage().tolist().__repr__().encode(),
        )
        for name, tensor in tensors.items()
    }


@cache
def _place() -> Path:
    """A path in memory, where the system has such a folder; one for each process."""
    shared = Path("/dev/shm")
    folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    return folder / f"lightning-compress-fuzz-{os.getpid()}.ckpt"


TARGETS = (
    Target("checkpoint", 0.01, (WeightsError,), read_saved),
    Target("safetensors", 0.01, (WeightsError,), read_safetensors),
)
