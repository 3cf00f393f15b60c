"""Size and speed of entropy coders on index streams: the basis for the choice of libraries.

    python benchmarks/coders.py [--symbols 10000000]
    python benchmarks/coders.py --export

Streams are interval-quantized normal weights (98 % coverage) at 4 and 6 bits, and bfloat16 words. Sizes are relative to
the zero-order entropy; speeds are medians of three runs on one thread. A second table has matrices in groups of like
scale, generalized Gaussian, and short streams. isal and numcodecs, which the package does not need, are included if
they are installed. With --export, the only table is the CPU time of compressing a Transformer of 124 tensors, and how
much of it the coder ``lanes`` takes, its models included.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import zstandard

import lightning_compress as lc
from lightning_compress.coding import CODERS, Statistics

Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]


def ours(name: str, words: Any) -> Codec:
    """One of the package's coders, as encode and decode functions."""
    coder = CODERS[name]
    return (
        lambda data: coder.encode(Statistics(data)),
        lambda code: coder.decode(memoryview(code), len(words), words.itemsize),
    )


def others() -> dict[str, Codec]:
    """Codecs that were rejected, or are used with other settings."""
    found: dict[str, Codec] = {
        "zstd level 1": (zstandard.ZstdCompressor(level=1).compress, zstandard.ZstdDecompressor().decompress),
        "zstd level 19": (zstandard.ZstdCompressor(level=19).compress, zstandard.ZstdDecompressor().decompress),
        "zlib level 6": (lambda data: zlib.compress(data, 6), zlib.decompress),
    }
    if find_spec("isal"):
        isal = importlib.import_module("isal.isal_zlib")
        found["isal level 3"] = (lambda data: isal.compress(data, 3), isal.decompress)
    if find_spec("numcodecs"):
        numcodecs = importlib.import_module("numcodecs")
        blosc = numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE)
        found["numcodecs Blosc(zstd, bitshuffle)"] = (blosc.encode, blosc.decode)
    return found


def median_seconds(function: Callable[[], object]) -> float:
    """Median CPU time of three calls."""
    times = []
    for _ in range(3):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return statistics.median(times)


def streams(symbols: int) -> dict[str, Any]:
    """The streams to code, by name."""
    torch.manual_seed(0)
    weights = torch.randn(symbols)
    result: dict[str, Any] = {}
    for bits in (4, 6):
        levels = 1 << bits
        indices = ((weights / 2.326 + 1) / 2 * levels).floor()
        outside = weights.abs() > 2.326
        result[f"{bits}-bit indices"] = indices.masked_fill(outside, levels + 1).to(torch.uint8).numpy()
    result["bfloat16 words"] = (weights.view(torch.int32) >> 16).to(torch.int16).numpy().view("<u2")
    return result


def grouped(rows: int, columns: int, shape: float, bits: float) -> tuple[Any, tuple[int, ...]]:
    """Zigzag indices of a matrix whose scales vary by row and column, in groups of like scale, and their lengths."""
    random = np.random.default_rng(0)
    scales = random.normal(0, 0.5, (rows, 1)), random.normal(0, 0.25, (1, columns))
    numbers = random.gamma(1 / shape, 1, (rows, columns)) ** (1 / shape) * random.choice([-1, 1], (rows, columns))
    numbers /= math.sqrt(math.gamma(3 / shape) / math.gamma(1 / shape))
    indices = np.rint(numbers * np.exp2(scales[0] + scales[1]) * 2**bits / 4.13).astype(int)
    classes = np.rint(3 * scales[0]).clip(-4, 4) + np.rint(3 * scales[1]).clip(-2, 2)
    groups = [zigzag(indices[classes == number]) for number in np.unique(classes)]
    return np.concatenate(groups), tuple(map(len, groups))


def zigzag(values: Any) -> Any:
    """0, −1, 1, −2, 2, … as 0, 1, 2, 3, 4, …"""
    return np.where(values >= 0, 2 * values, -2 * values - 1).clip(0, 255).astype("<u1")


def table_of_contexts() -> None:
    """Grouped matrices and short streams: bytes of every coder that takes them, and the speed of ``lanes``."""
    random = np.random.default_rng(1)
    found: dict[str, tuple[Any, tuple[int, ...]]] = {
        f"{rows} x {columns}, shape {shape}, about {bits} bits": grouped(rows, columns, shape, bits)
        for rows, columns in ((256, 256), (1024, 1024), (8000, 512))
        for shape, bits in ((1.0, 1.6), (1.3, 2.5), (2.0, 2.5))
    }
    found |= {
        "256 biases of 8 bits": (zigzag(np.rint(random.normal(0, 20, 256)).astype(int)), ()),
        "256 row exponents": (random.normal(16, 5, 256).clip(0, 60).astype("<u1"), ()),
        "8000 row exponents": (random.normal(30, 8, 8000).clip(0, 80).astype("<u1"), ()),
        "256 classes": (random.choice(4, 256, p=[0.1, 0.4, 0.35, 0.15]).astype("<u1"), ()),
    }
    print("\n| stream | groups | entropy, bytes | lanes | contexts | ans | others, best | encode M/s | decode M/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, (words, groups) in found.items():
        known, own = Statistics(words, groups), CODERS["lanes"]
        parts = np.split(words, np.cumsum(groups)[:-1]) if groups else [words]
        sizes = {key: len(c.encode(known)) for key, c in CODERS.items() if c.lower_bound(known) is not None}
        others = min((size, key) for key, size in sizes.items() if key not in ("lanes", "contexts", "ans"))
        code = memoryview(own.encode(known))
        rates = [
            len(words) / 1e6 / median_seconds(lambda w=words, g=groups: CODERS["lanes"].encode(Statistics(w, g))),
            len(words) / 1e6 / median_seconds(partial(own.decode, code, len(words), 1, groups)),
        ]
        entropy = sum(Statistics(part).entropy_bytes for part in parts)
        print(
            f"| {name} | {len(parts)} | {entropy:.0f} | {sizes['lanes']} | {sizes['contexts']} | {sizes['ans']} "
            f"| {others[0]} ({others[1]}) | {rates[0]:.1f} | {rates[1]:.1f} |",
            flush=True,
        )


class Stopwatch:
    """CPU seconds that one coder takes, and how often it codes a stream."""

    def __init__(self, coder: Any) -> None:
        self.seconds, self.codes = 0.0, 0
        for method in ("lower_bound", "encode"):
            setattr(coder, method, self.timed(getattr(coder, method), int(method == "encode")))

    def timed(self, function: Callable[[Statistics], Any], codes: int) -> Callable[[Statistics], Any]:
        def call(known: Statistics) -> Any:
            began = time.process_time()
            result = function(known)
            self.seconds += time.process_time() - began
            self.codes += codes
            return result

        return call


def table_of_exports(runs: int = 5) -> None:
    """CPU seconds of compressing a Transformer of 4 + 4 layers, medians of runs on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Transformer(256, 4, 4, 4, 1024, batch_first=True)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms as if they were trained
            parameter.add_(0.02 * torch.randn_like(parameter))
    lc.compress(model, "half")
    stopwatch = Stopwatch(CODERS["lanes"])
    print("| plan | tensors | file, bytes | CPU s | CPU s in lanes | streams coded by lanes |")
    print("|---|---|---|---|---|---|")
    for plan in ("half", "paper-transformer"):
        found = []
        for _ in range(runs):
            stopwatch.seconds, stopwatch.codes, began = 0.0, 0, time.process_time()
            archive = lc.compress(model, plan)
            found.append((time.process_time() - began, stopwatch.seconds))
        total, own = (statistics.median(times) for times in zip(*found, strict=True))
        size, tensors = archive.report().file_bytes, len(model.state_dict())
        print(f"| {plan} | {tensors} | {size} | {total:.2f} | {own:.2f} | {stopwatch.codes} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=10_000_000)
    parser.add_argument("--export", action="store_true", help="measure only the export of a Transformer")
    options = parser.parse_args()
    if options.export:
        table_of_exports()
        return
    print("| stream | coder | size / entropy | encode M symbols/s | decode M symbols/s |")
    print("|---|---|---|---|---|")
    for stream, words in streams(options.symbols).items():
        entropy = Statistics(words).entropy_bytes
        own = {name: ours(name, words) for name in ("packed", "huffman", "zstd", "lanes", "ans", "contexts", "planes")}
        if words.itemsize > 1:
            own.pop("huffman")
        else:
            own.pop("planes")
        if CODERS["contexts"].lower_bound(Statistics(words[: 1 << 16])) is None:
            own.pop("contexts")
        for name, (encode, decode) in {**own, **others()}.items():
            code = encode(words)
            rates = (
                options.symbols / 1e6 / median_seconds(lambda e=encode, w=words: e(w)),
                options.symbols / 1e6 / median_seconds(lambda d=decode, c=code: d(c)),
            )
            print(f"| {stream} | {name} | {len(code) / entropy:.4f} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)
    table_of_contexts()


if __name__ == "__main__":
    main()
