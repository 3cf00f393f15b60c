"""What is measured in this process: the package with several plans, and what needs nothing beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
import zstandard
from torch import Tensor

import lightning_compress as lc
from lightning_compress.quantize import GridGuide, feedback_factor
from lightning_compress.runtime import limited_workers

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Timing:
    """One run of a method.

    Attributes:
        encode: seconds from the state dict to a file.
        decode: seconds from the file to a state dict.
        nbytes: size of the file.
        error: mean squared error of the weights.
    """

    encode: float
    decode: float
    nbytes: int
    error: float


class Method(Protocol):
    """A way to write weights and to read them again."""

    name: str

    def run(self, state: State, folder: Path) -> Timing:
        """Write and read the weights once."""
        ...


@dataclass(frozen=True)
class InProcess:
    """A writer and a reader of one file.

    Attributes:
        name: in the table.
        write: state dict and path → a file.
        read: path → state dict.
        suffix: of the file; torch.load reads files by it.
        clock: seconds, of the wall or of the process.
    """

    name: str
    write: Callable[[State, Path], object]
    read: Callable[[Path], State]
    suffix: str = "safetensors"
    clock: Callable[[], float] = time.perf_counter

    def run(self, state: State, folder: Path) -> Timing:
        """See :class:`Method`."""
        path = folder / f"file.{self.suffix}"
        path.unlink(missing_ok=True)
        began = self.clock()
        self.write(state, path)
        encoded = self.clock()
        restored = self.read(path)
        decoded = self.clock()
        return Timing(encoded - began, decoded - encoded, path.stat().st_size, mean_squared_error(state, restored))


def mean_squared_error(state: State, restored: State) -> float:
    """The mean over all weights."""
    total = sum(float((restored[name].float() - tensor).double().square().sum()) for name, tensor in state.items())
    return total / sum(tensor.numel() for tensor in state.values())


def plans() -> dict[str, lc.Plan | str]:
    """The plans that are measured, by what the table calls them."""
    return {
        "half": "half",
        "paper-transformer": "paper-transformer",
        "grid": lc.Plan(lc.Rule("*", lc.Grid(0.4, trellis=0, relative=True))),
        "grid, trellis of 8": lc.Plan(lc.Rule("*", lc.Grid(0.65, trellis=8, relative=True))),
        "lossless": lc.Plan(lc.Rule("*", lc.Raw())),
    }


def feedback_guides(state: State, seed: int = 0) -> dict[str, GridGuide]:
    """What a search measures for its plans, here of seeded correlated inputs: steps of rows, and error feedback."""
    generator = torch.Generator().manual_seed(seed)
    guides: dict[str, GridGuide] = {}
    for name, tensor in state.items():
        if tensor.ndim == 2:
            rows, columns = tensor.shape
            mixed = torch.eye(columns) + 0.3 * torch.randn(columns, columns, generator=generator) / columns**0.5
            inputs = torch.randn(2 * columns, columns, generator=generator) @ mixed
            exponents = torch.randint(-20, 20, (rows,), generator=generator, dtype=torch.int32)
            guides[name] = GridGuide(exponents, feedback_factor(inputs.T @ inputs / len(inputs), 0.01))
    return guides


def ours(name: str, plan: lc.Plan | str, workers: int, guidance: Mapping[str, object] | None = None) -> InProcess:
    """A plan of the package, with so many threads; writing includes reading back and comparing."""

    def write(state: State, path: Path) -> None:
        with limited_workers(workers):
            lc.compress(state, plan, guidance=guidance).save(path)

    def read(path: Path) -> State:
        with limited_workers(workers):
            return lc.load(path)

    threads = "1 thread" if workers == 1 else f"{workers} threads"
    return InProcess(f"{name}, {threads}", write, read)


def torch_save() -> InProcess:
    """What all ratios are relative to."""
    return InProcess("torch.save", lambda state, path: torch.save(dict(state), path), _torch_load, "ckpt")


def others() -> list[InProcess]:
    """safetensors, and Zstandard of bfloat16 words."""
    return [
        InProcess(
            "safetensors", lambda s, path: safetensors.torch.save_file(dict(s), path), safetensors.torch.load_file
        ),
        *(zstd_of_bfloat16(level) for level in (1, 19)),
    ]


def zstd_of_bfloat16(level: int) -> InProcess:
    """Each tensor rounded to bfloat16 and compressed by itself; the file is one of safetensors."""

    def write(state: State, path: Path) -> None:
        coded = {}
        for name, tensor in state.items():
            words = tensor.bfloat16().view(torch.uint8).numpy()
            frame = zstandard.ZstdCompressor(level=level).compress(words)
            coded[name] = torch.frombuffer(bytearray(frame), dtype=torch.uint8)
        safetensors.torch.save_file(coded, path, {name: str(tuple(t.shape)) for name, t in state.items()})

    def read(path: Path) -> State:
        restored = {}
        with safetensors.safe_open(path, "pt") as file:
            for name, shape in file.metadata().items():
                words = zstandard.ZstdDecompressor().decompress(file.get_tensor(name).numpy())
                sizes = [int(size) for size in shape.strip("(),").split(",") if size]
                values = torch.frombuffer(bytearray(words), dtype=torch.bfloat16)
                restored[name] = values.reshape(sizes).float()
        return restored

    return InProcess(f"zstd -{level} of bfloat16", write, read)


def _torch_load(path: Path) -> State:
    state: State = torch.load(path, weights_only=True)
    return state
