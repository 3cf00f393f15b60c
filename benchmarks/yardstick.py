"""BLEU and bytes of two trained translation models under each preset.

    python benchmarks/yardstick.py --models DIR [--split val] [--plan half --plan paper-transformer …]

DIR holds ``yardstick.py`` with a class ``Yardstick(kind)`` for kind ``transformer`` and ``rnn``: ``state_dict()`` gives
the trained weights, ``bleu(state, split)`` the BLEU of any weights. Every figure is of weights that went through a file
and back; bytes are those of the file on disk. Beside those of the paper's methods stands its own estimate, which counts
neither the positions of pruned weights nor entropy coding.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning_compress as lc
from lightning_compress import Half, Interval, Plan, Prune


def paper_estimate(plan: Plan, weights: int) -> float | None:
    """Bytes by the paper's formula (its equation 2 and table 2); None for a plan with other methods than the paper's.

    Pruned weights cost nothing; of the others, those inside the interval cost n bits and those outside their own
    bits and n bits of mark. With n bits of mark the paper's table 2 is met: RNN 51 and 46 MB, Transformer 65 and 61 MB.
    """
    methods = {type(method): method for method in plan.rules[-1].methods}
    prune, interval = methods.get(Prune), methods.get(Interval)
    if interval is None or set(methods) - {Prune, Interval, Half}:
        return None
    outside_bits = 16 if Half in methods else 32
    pruned = 0.0 if prune is None else prune.amount
    inside = (interval.coverage - pruned) * interval.bits
    outside = (1 - interval.coverage) * (outside_bits + interval.bits)
    return weights * (inside + outside) / 8


def yardstick_class(folder: Path) -> Any:
    """The class ``Yardstick`` of the file in a folder."""
    spec = importlib.util.spec_from_file_location("yardstick", folder / "yardstick.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Yardstick


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--plan", action="append")
    options = parser.parse_args()
    plans = options.plan or ["half", "paper-transformer", "paper-rnn"]
    print("| model | plan | bytes on disk | ratio | paper's estimate | BLEU | change | seconds to compress |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("transformer", "rnn"):
        model = yardstick_class(options.models)(kind)
        state = model.state_dict()
        weights = sum(tensor.numel() for tensor in state.values())
        baseline = model.bleu(state, options.split)
        print(f"| {kind} | fp32 | {4 * weights:,} | 1.00x | | {baseline:.2f} | | |", flush=True)
        for name in plans:
            plan = Plan.resolve(name)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                began = time.perf_counter()
                report = (archive := lc.compress(state, plan)).report()
                archive.save(path)
                seconds = time.perf_counter() - began
                size = path.stat().st_size
                bleu = model.bleu(lc.load(path), options.split)
            estimate = paper_estimate(plan, weights)
            beside = "" if estimate is None else f"{4 * weights / estimate:.2f}x"
            print(
                f"| {kind} | {name} | {size:,} | {report.raw_bytes / size:.2f}x | {beside} | {bleu:.2f} | "
                f"{bleu - baseline:+.2f} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
