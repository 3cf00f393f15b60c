"""Trainings that are killed around their saves and resumed: no damaged, stale, missing or left-over file remains.

    python -m benchmarks.reliability.crash --trials 500 --seed 1 --resume results.json

A trial trains in a new folder and is killed by SIGKILL. Half of the kills come at a step on files (before a file is
opened for writing, renamed, linked, deleted or locked, and around a write or sync), each step of a whole training with
the same probability. The others come after the start of a random save, at a uniformly random time from 0 to 1.2 times
its duration in a training that was not killed. In three trials of ten, the training that resumes is killed, too. The
last training resumes from the newest complete checkpoint and ends. The folder is judged after each kill, when the last
training has put it in order, and at its end. A training with a searched plan only deletes stale files when it resumes;
there ``reconcile`` is called after the end, and the folder is judged once more. The trials take turns through the
variants, and half of them have their temporary files on another device, where Lightning copies its checkpoints from.

What makes a trial fail: see ``FAULTS``. A file that the policy no longer allows may stay until the next save, and so
may the companion file of ``last.ckpt``, a link that Lightning deletes before it makes it anew.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.reliability import results as records
from benchmarks.reliability.faults.kill_steps import kill_at
from benchmarks.reliability.trainings.child_processes import DelayedKill, Ended, Mark, run_child
from benchmarks.reliability.trainings.folder_state import digests, inspect, newest
from benchmarks.reliability.trainings.training import VARIANTS, Variant
from benchmarks.reliability.trainings.trial import EPOCHS, RESUMED_EPOCHS, Moment, train

# At the start and at the end. Companion files that the policy no longer allows may stay until the next save.
FAULTS = ("damaged", "stale", "gaps", "temporary", "dangling", "orphans")
MOMENTS = ("start", "end", "reconciled")
KINDS = (*FAULTS, "surplus", "torn")
OTHER_DEVICE = Path("/dev/shm")
AGAIN = 0.3  # the share of trials whose resumed training is killed, too
SLACK = 1.2  # times the duration of a save
MOST_RUNS = 5  # of a trial, to be killed as often as wanted; a training may end before its kill


@dataclass(frozen=True)
class Pace:
    """What a whole training of a variant does.

    Attributes:
        steps: on files.
        saves: duration of each save of a checkpoint, in seconds.
    """

    steps: int
    saves: tuple[float, ...]

    @property
    def of_resumed(self) -> Pace:
        """Of a training that resumes, and is shorter."""
        share = RESUMED_EPOCHS / EPOCHS
        return Pace(round(share * self.steps), self.saves[: max(1, int(share * len(self.saves)))])


def pace_of(variant: Variant, folder: Path) -> Pace:
    """Train once without a kill.

    Raises:
        RuntimeError: the training fails.
    """
    ended = _trained(variant, folder, 0, 0, None, tempfile.gettempdir())
    if ended.code != 0:
        raise RuntimeError(f"the training failed: {(folder / 'log').read_text()}")
    steps = next(int(text.removeprefix("steps ")) for _, text in ended.marks if text.startswith("steps "))
    starts = [when for when, text in ended.marks if text == "save "]
    ends = [when for when, text in ended.marks if text == "save-done"]
    return Pace(steps, tuple(end - start for start, end in zip(starts, ends, strict=True)))


def trial(name: str, pace: Pace, chance: random.Random, root: Path) -> dict[str, Any]:
    """Kill a training, resume it to its end, and judge its folder; the folder of a trial that fails is kept."""
    folder = Path(tempfile.mkdtemp(prefix="trial", dir=root))
    variant, seed = VARIANTS[name], chance.randrange(1000)
    temporary = str(OTHER_DEVICE) if chance.random() < 0.5 else str(folder)
    wanted, kills = 2 if chance.random() < AGAIN else 1, list[dict[str, Any]]()
    while sum(kill["killed"] for kill in kills) < wanted and len(kills) < MOST_RUNS:
        kills.append(_kill(variant, folder, seed, pace.of_resumed if kills else pace, chance, temporary))
    before = digests(folder / "saved")
    ended = _trained(variant, folder, seed, 0, None, temporary)
    row = {"variant": name, "seed": seed, "other_device": temporary != str(folder), "kills": kills, "code": ended.code}
    row |= _judged(variant, folder, before)
    if row["failed"]:
        row["folder"] = str(folder)
    else:
        shutil.rmtree(folder)
    return row


def _kill(
    variant: Variant, folder: Path, seed: int, pace: Pace, chance: random.Random, temporary: str
) -> dict[str, Any]:
    """Run a training until it is killed."""
    step, kill = 0, None
    if chance.random() < 0.5:
        step = chance.randint(1, pace.steps)
    else:
        number = chance.randrange(len(pace.saves))
        kill = DelayedKill("save ", number + 1, chance.uniform(0, SLACK * pace.saves[number]))
    ended = _trained(variant, folder, seed, step, kill, temporary)
    state = inspect(folder / "saved", variant.when)
    return {"at": "step" if step else "time", "killed": ended.killed, "within": _doing(ended), "found": state.found()}


def _trained(variant: Variant, folder: Path, seed: int, step: int, kill: DelayedKill | None, temporary: str) -> Ended:
    """Train in a child, from the newest complete checkpoint if there is one."""
    start = newest(folder / "saved")

    def work(mark: Mark) -> None:
        tempfile.tempdir = temporary
        steps = kill_at(step, str(folder / "saved"))
        train(variant, folder, seed, start, mark)
        mark(f"steps {steps()}")

    return run_child(work, folder / "log", kill)


def _doing(ended: Ended) -> str:
    """What the training did when it was killed: save, link, remove, or train."""
    last = ended.marks[-1][1] if ended.marks else ""
    return last.strip() if last.endswith(" ") else "train"


def _judged(variant: Variant, folder: Path, before: Mapping[str, str]) -> dict[str, Any]:
    """The states at the start and at the end of the last training, and whether anything is wrong in them."""
    moments = {name: Moment.read(folder / f"{name}.json") for name in MOMENTS}
    start, end = moments["start"], moments["end"]
    if start is None or end is None:
        return {"failed": ["the training did not reach its end"]}
    found = {name: one.state.found() for name, one in moments.items() if one is not None}
    to_reconcile = {"gaps"} if variant.is_searched else set()
    allowed = {"start": {*to_reconcile, "orphans"}, "end": to_reconcile}
    failed = [
        f"{kind}, {name}"
        for name, one in found.items()
        for kind in FAULTS
        if kind in one.keys() - allowed.get(name, set())
    ]
    changed = [name for name, digest in before.items() if start.digests.get(name) != digest]
    failed += ["a checkpoint was changed"] * bool(changed) + ["an error was logged"] * bool(end.errors)
    return {"failed": failed, "errors": end.errors, **found}


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over all trials."""
    kills = [kill for row in rows for kill in row["kills"] if kill["killed"]]
    totals = {"trials": len(rows), "failed": sum(bool(row["failed"]) for row in rows), "kills": len(kills)}
    totals |= {f"kills in {what}": n for what, n in sorted(Counter(kill["within"] for kill in kills).items())}
    found = {"after a kill": [kill["found"] for kill in kills]}
    found |= {f"at {name}": [row.get(name, {}) for row in rows] for name in MOMENTS}
    return totals | {
        f"{kind} {when}": sum(len(one.get(kind, ())) for one in each) for when, each in found.items() for kind in KINDS
    }


def run(trials: int, seed: int, path: Path | None, root: Path, names: Sequence[str]) -> dict[str, Any]:
    """Carry out the trials that the results lack, and print each that fails."""
    results = records.load(path, seed=seed, variants=list(names))
    paces: dict[str, Pace] = {}
    for number in range(len(results["rows"]), trials):
        name = names[number % len(names)]
        if name not in paces:
            paces[name] = pace_of(VARIANTS[name], Path(tempfile.mkdtemp(prefix="pace", dir=root)))
        row = trial(name, paces[name], random.Random(f"{seed} {number}"), root)
        results["rows"].append(row)
        if row["failed"]:
            print(f"trial {number}: {row}", flush=True)
        if number % 10 == 9 or number == trials - 1:
            results["summary"] = summary(results["rows"])
            records.save(path, results)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability.crash", description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="JSON file of the results; a run that was stopped continues there")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        results = run(options.trials, options.seed, options.resume, Path(root), options.variant or list(VARIANTS))
    for name, count in results["summary"].items():
        print(f"{name:32s} {count}")
    raise SystemExit(1 if results["summary"]["failed"] else 0)


if __name__ == "__main__":
    main()
