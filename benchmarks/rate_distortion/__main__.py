"""Measure, store and draw the points; see the package docstring."""

from __future__ import annotations

import argparse
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.rate_distortion.measure import measure
from benchmarks.rate_distortion.methods import fp32, integers, nncodec, ours, zstd_bfloat16
from benchmarks.rate_distortion.methods.method import Method
from benchmarks.rate_distortion.picture import draw
from benchmarks.rate_distortion.points import Store
from benchmarks.rate_distortion.source import Source
from benchmarks.rate_distortion.table import FILES
from benchmarks.yardstick import yardstick_class

KINDS = ("transformer", "rnn")
RESULTS = ("points.csv", "picture.svg", "picture.png")


def methods(out: Path) -> list[Method]:
    """All methods."""
    peers = nncodec.method(out / "peers")
    return [*ours.METHODS, peers, integers.INT4, integers.INT8, zstd_bfloat16.METHOD]


def arguments(names: list[str]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_distortion", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder with yardstick.py")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder of points.csv, the picture, our files and the peers' environment",
    )
    parser.add_argument("--docs", type=Path, help="folder that takes copies of the CSV and the pictures")
    parser.add_argument("--model", action="append", choices=KINDS, help="default: both")
    parser.add_argument("--method", action="append", choices=names, help="default: all")
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: 1, so that two runs go side by side")
    parser.add_argument("--test", action="store_true", help="measure on the test text too: only for what gets reported")
    return parser


def main() -> None:
    names = [method.name for method in methods(Path())]
    options = arguments(names).parse_args()
    if find_spec("matplotlib") is None:
        raise SystemExit("matplotlib, which draws the picture, is not installed: pip install -e '.[charts]'")
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    store = Store(options.out / RESULTS[0])
    splits = ["val", "test"] if options.test else ["val"]
    for kind in options.model or KINDS:
        source = Source(kind, yardstick_class(options.models)(kind))
        baselines = {point.split: point.bleu for point in measure(source, fp32.METHOD, splits, store, {})}
        for method in methods(options.out):
            if method.name not in (options.method or names):
                continue
            files = options.out / FILES if method in ours.METHODS else None
            for point in measure(source, method, splits, store, baselines, files):
                what = f"{kind:12s} {method.name:16s} {point.setting:32s} {point.split:5s}"
                size = f"{point.bytes:>11,} {point.ratio:6.2f}x"
                effort = f", {point.evaluations} evaluations" if point.evaluations else ""
                print(f"{what} {size} BLEU {point.bleu:.2f} ({point.change:+.2f}{effort})", flush=True)
    draw((point for point in store if point.split == "val"), [options.out / name for name in RESULTS[1:]])
    if options.docs:
        for name in RESULTS:
            shutil.copyfile(options.out / name, options.docs / f"rate-distortion{Path(name).suffix}")


if __name__ == "__main__":
    main()
