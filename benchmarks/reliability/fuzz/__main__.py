"""Fuzzes everything that reads what others wrote.

    python -m benchmarks.reliability.fuzz --inputs 10000000 --state fuzz.json
    python -m benchmarks.reliability.fuzz --replay tensor/123456

The first command continues the campaign in ``fuzz.json`` until that many inputs were run, and ends with 1 if there are
findings. The second makes one input again and reads it, to see where it fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.reliability.fuzz.campaign import Campaign
from benchmarks.reliability.fuzz.targets import TARGETS
from benchmarks.reliability.fuzz.worker import random_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs of all targets together")
    parser.add_argument("--state", type=Path, help="file that keeps the campaign")
    parser.add_argument("--targets", nargs="+", choices=[*TARGETS], default=[*TARGETS])
    parser.add_argument("--replay", metavar="TARGET/NUMBER", help="run one input in this process")
    arguments = parser.parse_args()
    if arguments.replay:
        name, number = arguments.replay.split("/")
        TARGETS[name].run(random_of(name, int(number)))()
        return
    campaign = Campaign.load(arguments.state) if arguments.state else Campaign()
    campaign.run({name: TARGETS[name] for name in arguments.targets}, arguments.inputs)
    for finding in campaign.findings:
        print(f"{finding['target']}/{finding['number']}: {finding['what']} {finding['where']}")
    sys.exit(bool(campaign.findings))


if __name__ == "__main__":
    main()
