"""CPU time and peak memory of compressing, saving and loading a 90 M-weight float32 model.

    python benchmarks/speed.py [--plan paper-transformer] [--threads 1]

The weights are synthetic: normal, of the shapes of the paper's Transformer (6 + 6 layers, 512, 30 K words a side), with
a scale of its own per tensor. Each step runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import lightning_compress as lc

WORDS, WIDTH, INNER, LAYERS = 30_000, 512, 2048, 6


def paper_transformer(seed: int = 0) -> dict[str, Tensor]:
    """Names and shapes of the paper's Transformer, filled with seeded normal weights."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "source_embedding.weight": (WORDS, WIDTH),
        "target_embedding.weight": (WORDS, WIDTH),
        "softmax.weight": (WORDS, WIDTH),
        "softmax.bias": (WORDS,),
    }
    for stack, attentions in (("encoder", ["self_attention"]), ("decoder", ["self_attention", "cross_attention"])):
        for layer in range(LAYERS):
            prefix = f"{stack}.layers.{layer}"
            for attention in attentions:
                for part in ("query", "key", "value", "output"):
                    shapes[f"{prefix}.{attention}.{part}.weight"] = (WIDTH, WIDTH)
                    shapes[f"{prefix}.{attention}.{part}.bias"] = (WIDTH,)
            shapes |= {
                f"{prefix}.feed_forward.0.weight": (INNER, WIDTH),
                f"{prefix}.feed_forward.0.bias": (INNER,),
                f"{prefix}.feed_forward.1.weight": (WIDTH, INNER),
                f"{prefix}.feed_forward.1.bias": (WIDTH,),
            }
            for norm in range(len(attentions) + 1):
                shapes |= {f"{prefix}.norm.{norm}.weight": (WIDTH,), f"{prefix}.norm.{norm}.bias": (WIDTH,)}
    scales = torch.rand(len(shapes), generator=generator) * 0.06 + 0.02
    return {
        name: torch.randn(shape, generator=generator) * scale
        for (name, shape), scale in zip(shapes.items(), scales, strict=True)
    }


def measured(step: str, path: Path, plan: str, threads: int) -> None:
    """Run one step and print its CPU seconds, wall seconds and growth of peak memory."""
    torch.set_num_threads(threads)
    state = paper_transformer() if step != "load" else {}
    lc.compress({"warm": torch.randn(1000)}, plan).save(path.with_name("warm.safetensors"))
    lc.load(path.with_name("warm.safetensors"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    note = ""
    if step == "load":
        lc.load(path)
    else:
        archive = lc.compress(state, plan)
        note = f"  compress alone {time.process_time() - cpu:.2f} s CPU"
        archive.save(path)
        report = archive.report()
        note += f", {report.weights:,} weights, {report.file_bytes:,} bytes, {report.ratio:.2f}x"
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if step != "load":
        began = time.process_time()
        archive.verify()
        note += f", of all this reading back and comparing {time.process_time() - began:.2f} s"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{step:24s} {cpu:6.2f} s CPU  {wall:6.2f} s wall  peak +{grown:.0f} MB{note}", flush=True)


def in_process(function: Callable[..., None], *arguments: object) -> None:
    """Call a function in a fresh process and wait."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", default="paper-transformer")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for step in ("compress, save, verify", "load"):
            in_process(measured, step, path, options.plan, options.threads)


if __name__ == "__main__":
    main()
