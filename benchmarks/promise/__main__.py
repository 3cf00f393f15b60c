"""Measure candidates, or replay searches among them; see the package docstring."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.promise import measured, replay, searches, simulate
from benchmarks.promise.items import TEXTS

LEVELS = (0.5, 0.75, 0.85, 0.9)
ITEMS = (200, 500, 1000)

NEED_MODELS = {
    "measure": "score candidates; continues an interrupted run",
    "search": "one search for each case on all of the validation text, read once on test2016",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promise", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in NEED_MODELS.items():
        one = commands.add_parser(name, help=told)
        one.add_argument("--models", type=Path, required=True, help="folder with yardstick.py")
        one.add_argument("--text", type=Path, required=True, help="folder with NAME.en and NAME.de of each text")
        one.add_argument("--out", type=Path, required=True, help="folder of the measurements")
        one.add_argument("--model", action="append", choices=measured.KINDS, help="default: both")
        one.add_argument("--data", action="append", choices=measured.DATA, help="default: both")
    commands.choices["measure"].add_argument(
        "--split", choices=TEXTS, default="valid", help="text whose sentences are scored, each with a folder of its own"
    )
    two = commands.add_parser("replay", help="search among the measured files, and judge on the other half")
    two.add_argument(
        "--out", type=Path, required=True, nargs="+", help="folder of the measurements, or folders of several texts"
    )
    two.add_argument("--assured", type=float, action="append", help="default: 0.5, 0.75, 0.85 and 0.9")
    three = commands.add_parser("accuracy", help="the same with a classifier that is trained here, and few items")
    three.add_argument("--items", type=int, action="append", help="that a search reads; default: 200, 500 and 1000")
    three.add_argument("--assured", type=float, action="append", help="default: 0.5, 0.75, 0.85 and 0.9")
    commands.add_parser("simulate", help="choices among files whose true drops are known")
    options = parser.parse_args()
    if options.command in NEED_MODELS:
        given = (
            options.models,
            options.text,
            options.out,
            options.model or measured.KINDS,
            options.data or measured.DATA,
        )
        if options.command == "measure":
            measured.main(*given, TEXTS[options.split])
        else:
            searches.main(*given)
        return
    if options.command == "simulate":
        lines = simulate.table()
    elif options.command == "accuracy":
        from benchmarks.promise import accuracy  # needs scikit-learn

        lines = replay.table([accuracy.case()], options.assured or LEVELS, options.items or ITEMS)
    else:
        lines = replay.table(measured.cases(options.out), options.assured or LEVELS)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
