"""Measure candidates, or replay searches among them; see the package docstring."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.promise import measured, replay, simulate

LEVELS = (0.5, 0.6, 0.75, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promise", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure", help="score candidates; continues an interrupted run")
    one.add_argument("--models", type=Path, required=True, help="folder with yardstick.py")
    one.add_argument("--text", type=Path, required=True, help="folder with valid.en, valid.de, train.en and train.de")
    one.add_argument("--out", type=Path, required=True, help="folder of the measurements")
    one.add_argument("--model", action="append", choices=measured.KINDS, help="default: both")
    one.add_argument("--data", action="append", choices=measured.DATA, help="default: both")
    two = commands.add_parser("replay", help="search among the measured files, and judge on the other half")
    two.add_argument("--out", type=Path, required=True, help="folder of the measurements")
    two.add_argument("--assured", type=float, action="append", help="default: 0.5, 0.6, 0.75 and 0.9")
    commands.add_parser("simulate", help="choices among files whose true drops are known")
    options = parser.parse_args()
    if options.command == "measure":
        measured.main(options.models, options.text, options.out, options.model, options.data)
        return
    lines = (
        simulate.table()
        if options.command == "simulate"
        else replay.table(measured.cases(options.out), options.assured or LEVELS)
    )
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
