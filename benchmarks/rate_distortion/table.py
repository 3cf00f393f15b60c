"""The smallest file of each kind that loses at most so much BLEU.

    python -m benchmarks.rate_distortion.table OUT/points.csv [--max-drop 0.3]
    python -m benchmarks.rate_distortion.table OUT/points.csv --test --models DIR

Files are chosen by their loss on the validation text. With ``--test`` those chosen, and the trained weights, are
measured on the test text too, from the files that the measurement kept beside the CSV; the CSV keeps what comes out, so
that the test text is used once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import lightning_compress as lc
from benchmarks.rate_distortion.points import Point, Store
from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class

BASELINE = "fp32"
# What a row is chosen from: the first columns ``method, setting`` of a point. The baseline comes first.
KINDS: dict[str, list[tuple[str, ...]]] = {
    "fp32": [(BASELINE,)],
    "int4": [("int4",)],
    "presets": [("presets",)],
    "NNCodec 2": [("nncodec",)],
    "no calibration data": [("data-free",), ("observed",), ("auto", "no data")],
    "calibrated": [("calibrated",), ("auto", "calibrated")],
}
FILES = "files"


def smallest_files(points: Iterable[Point], max_drop: float) -> dict[str, Point]:
    """Kind of file → the point of highest ratio among those that lose at most ``max_drop``; kinds without one left out.

    Args:
        points: of one model on the validation text.
        max_drop: BLEU below the trained weights.
    """
    holds = [point for point in points if point.change >= -max_drop]
    found = {}
    for kind, sources in KINDS.items():
        own = [p for p in holds if any((p.method, p.setting)[: len(s)] == s for s in sources)]
        if own:
            found[kind] = max(own, key=lambda point: (point.ratio, point.bleu))
    return found


def measure_test(store: Store, source: Source, points: Iterable[Point], files: Path) -> None:
    """Measure points on the test text, unless the store knows them there; those whose file was not kept are left out.

    Args:
        store: takes the new points.
        source: the model.
        points: on the validation text, the baseline first.
        files: folder of the files, named by the digest of the weights read back.
    """
    before: float | None = None
    for point in points:
        bleu = _test_bleu(store, source, point, files)
        if bleu is None:
            continue
        before = bleu if before is None else before
        store.add(replace(point, split="test", bleu=round(bleu, 4), change=round(bleu - before, 4)))


def _test_bleu(store: Store, source: Source, point: Point, files: Path) -> float | None:
    known = store.bleu_of(source.kind, "test", point.content)
    if known is not None:
        return known
    if point.method == BASELINE:
        return source.bleu(source.state, "test")
    file = files / point.content
    return source.bleu(lc.load(file), "test") if file.exists() else None


def table(chosen: Mapping[str, Point], tests: Iterable[Point]) -> str:
    """The rows in Markdown; ``tests`` are points on the test text."""
    by_content = {point.content: point for point in tests}
    lines = [
        "| | file | bytes | ratio | BLEU | change | search | test BLEU | change |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, point in chosen.items():
        file = f"`{point.method}`, {point.setting}"
        search = f"{point.evaluations} evaluations, {point.seconds / 60:.1f} min" if point.evaluations else ""
        test = by_content.get(point.content)
        last = "– | –" if test is None else f"{test.bleu:.2f} | {test.change:+.2f}"
        lines.append(
            f"| {kind} | {file} | {point.bytes:,} | {point.ratio:.2f}× | {point.bleu:.2f} | {point.change:+.2f} | "
            f"{search} | {last} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path)
    parser.add_argument("--max-drop", type=float, default=0.3, help="BLEU on the validation text; default 0.3")
    parser.add_argument(
        "--test", action="store_true", help="measure the chosen files on the test text: once, at the end"
    )
    parser.add_argument("--models", type=Path, help="folder with yardstick.py, for --test")
    options = parser.parse_args()
    if options.test and options.models is None:
        parser.error("--test measures, so it needs --models DIR")
    store = Store(options.csv)
    for model in dict.fromkeys(point.model for point in store):
        own = [point for point in store if point.model == model]
        chosen = smallest_files((point for point in own if point.split == "val"), options.max_drop)
        if options.test:
            source = Source(model, yardstick_class(options.models)(model))
            measure_test(store, source, chosen.values(), options.csv.parent / FILES)
        tests = [point for point in store if (point.model, point.split) == (model, "test")]
        print(f"{model}\n\n{table(chosen, tests)}\n", flush=True)


if __name__ == "__main__":
    main()
