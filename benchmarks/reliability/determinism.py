"""The same input gives the same bytes: in every process, with any hash seed, threads, rank, layout, locale and clock.

    python -m benchmarks.reliability.determinism [--python INTERPRETER …] [--out results.json]

Each case is a new process, which writes files with every method, coder and preset of the registries, by a search and in
a training (``determinism_files.py``). Their digests are compared with those of the first process. ``--python`` adds
interpreters of other environments, such as one with another version of numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reliability import results as records

ROOT = Path(__file__).parents[2]
YEARS = 10 * 365 * 24 * 3600
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "THREADS")


@dataclass(frozen=True)
class Case:
    """What differs from the first process.

    Attributes:
        environment: variables that are set.
        folder: working directory.
        python: interpreter.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    python: str = sys.executable


def cases(folder: Path, pythons: Sequence[str]) -> dict[str, Case]:
    """All cases; the first one is that of the comparison."""
    ranks = {f"rank {rank}": Case({"RANK": rank, "MEETING": (folder / "meeting").as_uri()}) for rank in ("0", "1")}
    return {
        "first": Case({"PYTHONHASHSEED": "0"}),
        "hash seed": Case({"PYTHONHASHSEED": "4242"}),
        "threads": Case(dict.fromkeys(THREADS, "4")),
        "layout": Case({"LAYOUT": "columns first"}),
        "locale and time zone": Case({"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Auckland"}),
        "working directory": Case(folder=folder),
        "clock": Case({"CLOCK": str(YEARS)}),
        **ranks,
        **{f"python {python}": Case(python=python) for python in pythons},
    }


def start(case: Case) -> subprocess.Popen[str]:
    """Start the process of a case."""
    base = dict.fromkeys(THREADS, "1") | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [case.python, "-m", "benchmarks.reliability.determinism_files"]
    environment = os.environ | base | dict(case.environment)
    return subprocess.Popen(command, cwd=case.folder, env=environment, stdout=subprocess.PIPE, text=True)


def digests(process: subprocess.Popen[str]) -> dict[str, str]:
    """File → digest, when a process has ended.

    Raises:
        RuntimeError: it failed.
    """
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args} ended with status {process.returncode}")
    found: dict[str, str] = json.loads(output.splitlines()[-1])
    return found


def run(names: Sequence[str], folder: Path, pythons: Sequence[str]) -> dict[str, dict[str, str]]:
    """Case → file → digest. The processes of the two ranks run at the same time, the others one by one."""
    chosen = {name: case for name, case in cases(folder, pythons).items() if name in names}
    ranks = {name: start(case) for name, case in chosen.items() if name.startswith("rank ")}
    made = {name: digests(process) for name, process in ranks.items()}
    return {name: made[name] if name in made else digests(start(case)) for name, case in chosen.items()}


def differences(made: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Case → the files that differ from those of the first case."""
    first = next(iter(made.values()))
    return {name: [file for file, digest in files.items() if first.get(file) != digest] for name, files in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.determinism", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--python", action="append", default=[], help="interpreter of another environment")
    parser.add_argument("--case", action="append", help="default: all; the first one is always run")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = ["first", *(options.case or cases(Path(folder), options.python))]
        made = run(names, Path(folder), options.python)
    results, wrong = records.header(pythons=options.python), differences(made)
    for name, files in made.items():
        results["rows"].append({"case": name, "files": len(files), "different": wrong[name]})
        print(f"{name:24s} {len(files):3} files, {len(wrong[name])} different {wrong[name][:4] or ''}")
    records.save(options.out, results)
    raise SystemExit(1 if any(wrong.values()) else 0)


if __name__ == "__main__":
    main()
