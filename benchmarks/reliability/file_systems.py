"""Trainings on file systems that fail: they go on, one line tells path and reason, and nothing is left half written.

    python -m benchmarks.reliability.file_systems [--out results.json]

Each case trains with faults of the files of this package (``file_system_faults.py``); Lightning's own files are
written as always. Afterwards there is no damaged and no temporary file, and no companion file of other weights. The
training then resumes without the fault: the folder is complete when it starts.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import torch

from benchmarks.reliability import results as records
from benchmarks.reliability.faults.file_system_faults import FAULTS, VANISHING_FOLDER, Fault
from benchmarks.reliability.trainings.child_processes import Mark, run_child
from benchmarks.reliability.trainings.folder_state import inspect, newest
from benchmarks.reliability.trainings.training import COPY, LINK, TOP, Variant, fit
from benchmarks.reliability.trainings.trial import Errors, Moment, train
from lightning_compress.archive import Archive

VARIANTS = {
    "all, linked": Variant({"plan": "half"}, [TOP | LINK]),
    "last, copied": Variant({"plan": "half", "when": "last"}, [TOP | COPY]),
}
NEVER = {"damaged", "stale", "temporary", "dangling"}
AFTER_RESUMING = NEVER | {"gaps"}
GRANULARITY = 2  # seconds, of the times of some file systems


def with_fault(fault: Fault, variant: Variant, folder: Path) -> list[str]:
    """Train with a fault, resume without it, and say what is wrong."""
    errors = Errors()
    logger = logging.getLogger("lightning_compress")
    logger.addHandler(errors)
    try:
        with fault.active():
            steps = fit(variant, folder / "saved", 1, max_epochs=fault.epochs).global_step
    finally:
        logger.removeHandler(errors)
    wrong = ["the training ended early"] * (steps != 2 * fault.epochs)
    wrong += [f"a line says {line}" for line in errors.lines if not _tells(line, folder, fault.reason)]
    wrong += ["no line tells of the failure"] * (bool(fault.reason) and not errors.lines)
    found = inspect(folder / "saved", variant.when).found()
    wrong += [f"{kind}: {found[kind]}" for kind in NEVER & found.keys()]
    return wrong + (resumed(variant, folder) if newest(folder / "saved") else [])


def resumed(variant: Variant, folder: Path) -> list[str]:
    """Resume, and say what is wrong when the training has started."""
    train(variant, folder, 1, newest(folder / "saved"), lambda _: None)
    start = Moment.read(folder / "start.json")
    assert start is not None
    found = start.state.found()
    return [f"{kind} after resuming: {found[kind]}" for kind in AFTER_RESUMING & found.keys()]


def coarse_times(folder: Path) -> list[str]:
    """Files of other weights that are as old as their checkpoint are found, where times are whole seconds."""
    variant = VARIANTS["all, linked"]
    fit(variant, folder / "saved", 1)
    first, *others = sorted((folder / "saved").rglob("epoch*.safetensors"))
    for other in others:
        other.write_bytes(first.read_bytes())
    for path in (folder / "saved").rglob("*.*"):
        if not path.is_symlink():
            whole = path.stat().st_mtime // GRANULARITY * GRANULARITY
            os.utime(path, (whole, whole))
    return resumed(variant, folder)


def two_trainers(folder: Path) -> list[str]:
    """Two trainings save in one folder at the same time: both end, and every file is whole."""
    variant = VARIANTS["all, linked"]

    def second(mark: Mark) -> None:
        ended = run_child(lambda _: fit(variant, folder / "saved", 2), folder / "second")
        mark(str(ended.code))

    def first(_: Mark) -> None:
        fit(variant, folder / "saved", 1)

    codes = _side_by_side(first, second, folder)
    found = inspect(folder / "saved", variant.when).found()
    return [f"a training ended with {codes}"] * any(codes) + [
        f"{kind}: {found[kind]}" for kind in {"damaged", "temporary", "dangling"} & found.keys()
    ]


def _side_by_side(first: Callable[[Mark], object], second: Callable[[Mark], object], folder: Path) -> list[int]:
    def both(mark: Mark) -> None:
        process = os.fork()
        if process == 0:
            first(mark)
            os._exit(0)
        second(mark)
        mark(str(os.waitpid(process, 0)[1]))

    ended = run_child(both, folder / "both")
    return [ended.code, *(int(text) for _, text in ended.marks)]


def remote(folder: Path) -> list[str]:
    """A training that saves to a file system of fsspec."""
    url = "memory://reliability"
    fit(Variant({"plan": "half", "on_error": "raise"}, [TOP | COPY | {"dirpath": url}]), folder, 1)
    names = [path.rpartition("/")[2] for path in fsspec.filesystem("memory").ls(url, detail=False)]
    checkpoints = {name.removesuffix(".ckpt") for name in names if name.endswith(".ckpt")}
    for stem in checkpoints:
        Archive.open(f"{url}/{stem}.compressed.safetensors").verify()
    whole = {f"{stem}{suffix}" for stem in checkpoints for suffix in (".ckpt", ".compressed.safetensors")}
    return [f"left over: {set(names) - whole}"] * bool(set(names) - whole)


def vanishing_folder(folder: Path) -> list[str]:
    """The folder is deleted while the only companion file is written; Lightning saves nothing after that."""
    return with_fault(VANISHING_FOLDER, Variant({"plan": "half"}, [TOP]), folder)


def _case(fault: Fault, variant: Variant) -> Callable[[Path], list[str]]:
    return lambda folder: with_fault(fault, variant, folder)


CASES: dict[str, Callable[[Path], list[str]]] = {
    **{f"{name}; {kind}": _case(fault, each) for name, fault in FAULTS.items() for kind, each in VARIANTS.items()},
    "folder that vanishes": vanishing_folder,
    "times of two seconds": coarse_times,
    "two trainers in one folder": two_trainers,
    "memory:// of fsspec": remote,
}


def _tells(line: str, folder: Path, reason: str) -> bool:
    return bool(reason) and str(folder) in line and reason in line


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.file_systems", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--case", action="append", choices=CASES, help="default: all")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("pytorch_lightning", "lightning_compress"):
        logging.getLogger(name).setLevel(logging.ERROR)
    results: dict[str, Any] = records.header()
    for name in options.case or CASES:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            wrong = CASES[name](Path(folder))
        results["rows"].append({"case": name, "wrong": wrong})
        print(f"{name:50s} {'; '.join(wrong) or 'right'}", flush=True)
        records.save(options.out, results)
    raise SystemExit(1 if any(row["wrong"] for row in results["rows"]) else 0)


if __name__ == "__main__":
    main()
