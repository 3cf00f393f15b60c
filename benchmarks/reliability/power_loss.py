"""Power is lost after every operation on files: a final name holds a complete file or nothing, never a damaged one.

    python -m benchmarks.reliability.power_loss [--out results.json]

The operations of saves, links, deletions and whole trainings are recorded and replayed to every prefix. After a loss
of power, a file that was not synced is empty, cut or whole, and each change of a folder's entries since the last sync
of that folder is lost or kept, independently of the others. That allows more than ext4 and XFS do. The folders
themselves are taken to be durable. In each state:

* a final name holds the content of a finished save, links to a name, or is not there;
* a name that was durable and is overwritten holds the old or the new content;
* there is a complete file as soon as the first save has returned: successors are durable before predecessors go.

Checkpoints are Lightning's, which does not sync them; they are not judged.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.reliability import results as records
from benchmarks.reliability.faults.recorded_operations import Entry, FileSync, Naming, Operation, recorded
from benchmarks.reliability.trainings.training import LAST, LINK, TOP, VARIANTS, Variant, fit
from lightning_compress import Plan, Rule
from lightning_compress.archive import Archive
from lightning_compress.compression import compress
from lightning_compress.files import is_temporary_name, replace_by_link
from lightning_compress.quantize import Raw

State = dict[Path, bytes | str]  # what a folder holds: content of files, targets of links


@dataclass
class Disk:
    """What survives a loss of power, and what may.

    Attributes:
        entries: path → durable entry.
        pending: changes of entries that may be lost, in order.
        contents: file → its content as it was synced.
        complete: file → its whole content.
    """

    complete: dict[int, bytes]
    entries: dict[Path, Entry] = field(default_factory=dict)
    pending: list[Naming] = field(default_factory=list)
    contents: dict[int, bytes] = field(default_factory=dict)

    def apply(self, operation: Operation) -> None:
        """Carry out an operation."""
        if isinstance(operation, FileSync):
            self.contents[operation.file] = operation.content
        elif isinstance(operation, Naming):
            self.pending.append(operation)
        else:
            done = [naming for naming in self.pending if _folder(naming) == operation.folder]
            for naming in done:
                self.entries |= naming.entries
                self.pending.remove(naming)

    def states(self) -> Iterator[State]:
        """Everything that may be found after a loss of power now."""
        for kept in product([False, True], repeat=len(self.pending)):
            entries = dict(self.entries)
            for naming, is_kept in zip(self.pending, kept, strict=True):
                entries |= naming.entries if is_kept else {}
            found = {path: entry for path, entry in entries.items() if entry is not None}
            for contents in product(*(self._contents(entry) for entry in found.values())):
                yield dict(zip(found, contents, strict=True))

    def _contents(self, entry: Entry) -> list[bytes | str]:
        if not isinstance(entry, int):
            return [str(entry)]
        if entry in self.contents:
            return [self.contents[entry]]
        whole = self.complete.get(entry, b"whole")
        return [b"", whole[: len(whole) // 2], whole]


def losses(operations: Sequence[Operation]) -> tuple[int, list[str]]:
    """Lose power after each operation: the number of states, and what is wrong in them."""
    disk = Disk({sync.file: sync.content for sync in operations if isinstance(sync, FileSync)})
    wrong, count = list[str](), 0
    for number, operation in enumerate(operations):
        disk.apply(operation)
        has_one = any(
            isinstance(entry, int) and not is_temporary_name(path.name) for path, entry in disk.entries.items()
        )
        durable = {p for p, e in disk.entries.items() if isinstance(e, int)} - _deleted(disk.pending)
        for state in disk.states():
            count += 1
            final = {path: content for path, content in state.items() if not is_temporary_name(path.name)}
            whole = [path for path, content in final.items() if content in disk.complete.values()]
            wrong += [f"{number} {operation}: {p.name} is damaged" for p, c in final.items() if _is_damaged(c, disk)]
            wrong += [f"{number} {operation}: {path.name} is lost" for path in durable - state.keys()]
            wrong += [f"{number} {operation}: no complete file"] * (has_one and not whole)
    return count, wrong


def _is_damaged(content: bytes | str, disk: Disk) -> bool:
    return isinstance(content, bytes) and content not in disk.complete.values()


def _deleted(pending: Sequence[Naming]) -> set[Path]:
    """Paths that an operation deletes or moves away."""
    return {path for naming in pending for path, entry in naming.entries.items() if entry is None}


def _folder(naming: Naming) -> Path:
    (folder,) = {path.parent for path in naming.entries}
    return folder


def _archive(value: float) -> Archive:
    return compress({"weight": torch.full((300,), value)}, Plan(Rule("*", Raw())))


def _saves(folder: Path) -> None:
    for value in (1.0, 2.0):
        _archive(value).save(folder / "model.safetensors")


def _links(folder: Path) -> None:
    for value, name in ((1.0, "a"), (2.0, "b")):
        _archive(value).save(folder / f"{name}.compressed.safetensors")
        replace_by_link(folder / "last.compressed.safetensors", f"{name}.compressed.safetensors")


def _file_in_place_of_link(folder: Path) -> None:
    _links(folder)
    _archive(3.0).save(folder / "last.compressed.safetensors")
    replace_by_link(folder / "last.compressed.safetensors", "a.compressed.safetensors")


def _training(variant: Variant) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        fit(variant, folder, 0)

    return work


CASES: dict[str, Callable[[Path], None]] = {
    "save and overwrite": _saves,
    "link and link again": _links,
    "file in place of a link": _file_in_place_of_link,
    **{
        name: _training(variant)
        for name, variant in VARIANTS.items()
        if not (variant.is_searched or variant.is_background)
    },
    "last, every step": _training(Variant(LAST, [TOP | LINK | {"every_n_train_steps": 1}])),
}


def run(name: str, folder: Path) -> dict[str, Any]:
    """Record a case and lose power after each of its operations."""
    with recorded(folder, lambda path: path.suffix in (".safetensors", ".partial")) as recording:
        CASES[name](folder)
    for path, entry in recording.entries.items():
        assert path.is_symlink() == isinstance(entry, str), f"{path} was not recorded completely"
        assert path.exists() == (entry is not None), f"{path} was not recorded completely"
    count, wrong = losses(recording.operations)
    return {"case": name, "operations": len(recording.operations), "states": count, "wrong": wrong}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.power_loss", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--case", action="append", choices=CASES, help="default: all")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    results = records.header()
    for name in options.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            row = run(name, Path(folder))
        results["rows"].append(row)
        print(f"{name:28s} {row['operations']:5} operations {row['states']:8} states, {len(row['wrong'])} wrong")
        print(*row["wrong"][:5], sep="\n", end="\n" if row["wrong"] else "")
    records.save(options.out, results)
    raise SystemExit(1 if any(row["wrong"] for row in results["rows"]) else 0)


if __name__ == "__main__":
    main()
