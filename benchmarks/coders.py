"""Size and speed of entropy coders on index streams: what the choice of libraries rests on.

    python benchmarks/coders.py [--symbols 10000000]

Streams are interval-quantized normal weights (98 % coverage) at 4 and 6 bits, and bfloat16 words. Sizes are relative to
the zero-order entropy; speeds are medians of three runs on one thread. isal and numcodecs, which the package does not
need, take part where they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
import zstandard

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
    """Codecs that were tried and not taken, or taken at other settings."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=10_000_000)
    options = parser.parse_args()
    print("| stream | coder | size / entropy | encode M symbols/s | decode M symbols/s |")
    print("|---|---|---|---|---|")
    for stream, words in streams(options.symbols).items():
        entropy = Statistics(words).entropy_bytes
        own = {name: ours(name, words) for name in ("packed", "huffman", "zstd", "ans", "planes")}
        if words.itemsize > 1:
            own.pop("huffman")
        else:
            own.pop("planes")
        for name, (encode, decode) in {**own, **others()}.items():
            code = encode(words)
            rates = (
                options.symbols / 1e6 / median_seconds(lambda e=encode, w=words: e(w)),
                options.symbols / 1e6 / median_seconds(lambda d=decode, c=code: d(c)),
            )
            print(f"| {stream} | {name} | {len(code) / entropy:.4f} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
