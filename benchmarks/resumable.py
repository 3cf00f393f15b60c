"""Bytes and seconds of exact checkpoints: ``torch.save``, whole compressed files, and differences.

    python -m benchmarks.resumable --models DIR --kind transformer --steps 60

DIR holds ``yardstick.py`` as for ``benchmarks/yardstick.py``. The trained model trains on with AdamW; after each
``--steps`` steps its checkpoint, weights and state of the optimizer, is written in the three ways, read back and
compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.yardstick import yardstick_class
from lightning_compress.resumable import read_file, write_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--kind", default="transformer", choices=["transformer", "rnn"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--checkpoints", type=int, default=3)
    options = parser.parse_args()
    yardstick = yardstick_class(options.models)(options.kind)
    model = yardstick.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batches = list(yardstick.batches(2000, 32))
    print("| checkpoint | how | bytes | share of torch.save | seconds to write | seconds to read |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder, parent = Path(name), None
        for number in range(options.checkpoints):
            for step in range(options.steps):
                optimizer.zero_grad()
                yardstick.loss(batches[(number * options.steps + step) * 7 % len(batches)]).backward()
                optimizer.step()
            checkpoint = {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}
            saved = folder / f"{number}.saved"
            write = _seconds(lambda saved=saved, checkpoint=checkpoint: torch.save(checkpoint, saved))
            read = _seconds(lambda saved=saved: torch.load(saved))
            _print(number, "torch.save", saved, saved, write, read)
            for how, before in (("whole", None), ("differences", parent)):
                if how == "whole" or before is not None:
                    path = folder / f"{number}.{how}"
                    write = _seconds(lambda path=path, c=checkpoint, before=before: write_file(c, path, before))
                    read = _seconds(lambda path=path: read_file(path))
                    _check(read_file(path), checkpoint)
                    _print(number, how, path, saved, write, read)
            parent = write_file(checkpoint, folder / f"{number}.parent")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _check(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for first, second in zip(_tensors(found), _tensors(expected), strict=True):
        if not torch.equal(first, second):
            raise AssertionError("a tensor did not come back")


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _print(number: int, how: str, path: Path, saved: Path, write: float, read: float) -> None:
    size, whole = path.stat().st_size, saved.stat().st_size
    print(f"| {number} | {how} | {size:,} | {size / whole:.3f} | {write:.1f} | {read:.1f} |", flush=True)


if __name__ == "__main__":
    main()
