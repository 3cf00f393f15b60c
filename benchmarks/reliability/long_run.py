"""Thousands of saves in one training: memory, open files, threads, processes and temporary files do not grow.

    python -m benchmarks.reliability.long_run --saves 2000 [--out results.json]

A module of fifty weights is saved at every step; the checkpoint before the last three is deleted each time, and the
last is linked. After 10 % of the saves and after all of them, garbage is collected and the process is measured.
"""

from __future__ import annotations

import argparse
import gc
import logging
import resource
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from benchmarks.reliability import results as records
from benchmarks.reliability.trainings.training import LINK, Variant, fit
from lightning_compress.files import is_temporary_name

SAVES = {"monitor": "step", "mode": "max", "save_top_k": 3, "every_n_train_steps": 1} | LINK
VARIANTS = {
    "all": Variant({"plan": "half"}, [SAVES]),
    "best": Variant({"plan": "half", "when": "best"}, [SAVES]),
    "last": Variant({"plan": "half", "when": "last"}, [SAVES]),
    "background": Variant({"plan": "half", "background": "wait"}, [SAVES]),
}
# What may be more at the end than after 10 % of the saves: pages that the allocator has not given back.
SLACK = {"memory": 8 << 20, "objects": 100}


@dataclass(frozen=True)
class Usage:
    """What a process and its folder hold.

    Attributes:
        memory: resident, in bytes.
        objects: that the garbage collector tracks.
        open_files: file descriptors.
        threads: of the process.
        children: processes that it has started and that still run.
        files: in the folder of the training.
        temporary: those of them with a temporary name.
        checkpoints: names that the policy of the callback remembers.
    """

    memory: int
    objects: int
    open_files: int
    threads: int
    children: int
    files: int
    temporary: int
    checkpoints: int

    @classmethod
    def now(cls, folder: Path, checkpoints: int) -> Usage:
        """Measure this process, after garbage is collected."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        names = [path.name for path in folder.rglob("*")]
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        return cls(
            memory=pages * resource.getpagesize(),
            objects=len(gc.get_objects()),
            open_files=len([*Path("/proc/self/fd").iterdir()]),
            threads=len([*Path("/proc/self/task").iterdir()]),
            children=len(children),
            files=len(names),
            temporary=sum(map(is_temporary_name, names)),
            checkpoints=checkpoints,
        )


class _Meter(pl.Callback):
    """Measures after some numbers of steps, each of which has saved a checkpoint."""

    def __init__(self, folder: Path, steps: tuple[int, ...]) -> None:
        self._folder, self._steps = folder, steps
        self.usages: dict[int, Usage] = {}

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Measure the state after the steps before this one."""
        self._measure(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the state after the last step."""
        self._measure(trainer)

    def _measure(self, trainer: pl.Trainer) -> None:
        if trainer.global_step in self._steps:
            policy = vars(trainer.callbacks[0])["_policy"]  # type: ignore[attr-defined]
            self.usages[trainer.global_step] = Usage.now(self._folder, len(vars(policy)["_checkpoints"]))


def grown(early: Usage, late: Usage) -> dict[str, int]:
    """Name → by how much it has grown, for what has grown by more than is allowed."""
    more = {name: late_value - getattr(early, name) for name, late_value in asdict(late).items()}
    return {name: value for name, value in more.items() if value > SLACK.get(name, 0)}


def run(name: str, saves: int, folder: Path) -> tuple[Usage, Usage]:
    """Train once; the usage after 10 % of the saves and after all."""
    meter = _Meter(folder, (saves // 10, saves))
    settings = {"max_steps": saves, "max_epochs": -1, "batches": 50}
    fit(VARIANTS[name], folder, 0, meter, **settings)
    early, late = meter.usages.values()
    return early, late


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.long_run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--saves", type=int, default=2000)
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="default: all")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    results, failed = records.header(saves=options.saves), False
    for name in options.variant or VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            early, late = run(name, options.saves, Path(folder))
        more = grown(early, late)
        failed |= bool(more)
        results["rows"].append({"variant": name, "early": asdict(early), "late": asdict(late), "grown": more})
        records.save(options.out, results)
        print(f"{name}: {early}\n{' ' * len(name)}  {late}\n{' ' * len(name)}  grown: {more or 'nothing'}", flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
