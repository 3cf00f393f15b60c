"""Writes a file with every method, coder and preset, a search and a training, and prints the SHA-256 of each as JSON.

The settings of :mod:`benchmarks.reliability.determinism` are read from the environment: ``THREADS`` of torch,
``LAYOUT`` of tensors, ``CLOCK`` (seconds that the clock is ahead), and ``RANK`` of two processes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.reliability.trainings.training import COPY, TOP, Variant, fit
from lightning_compress import Plan, Rule, smallest
from lightning_compress.archive import Archive
from lightning_compress.coding import CODERS, Statistics
from lightning_compress.compression import compress
from lightning_compress.plan import METHODS, PRESETS

# Arguments of each method: those that it needs, and some that take other paths through the code.
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "prune": [{"amount": 0.3}],
    "low-rank": [{"rank": 3}, {"energy": 0.7}],
    "interval": [{"bits": 4}, {"bits": 6, "restore": "right", "scope": "tensor"}],
    "grid": [{"step": 0.02}, {"step": 0.3, "relative": True, "trellis": 4, "scope": "tensor"}],
    "k-means": [{"clusters": 9}, {"clusters": 5, "scope": "model", "outliers": 0.01}],
    "logarithmic": [{"bits": 4, "outliers": 0.01}],
    "binary": [{}],
    "ternary": [{}],
    "group-wise": [{"bits": 4}],
    "half": [{}, {"format": "float16", "rounding": "nearest"}],
    "raw": [{}],
}


def model() -> dict[str, Tensor]:
    """Matrices, vectors and a table of words, from a fixed seed."""
    chance = np.random.default_rng(11)
    shapes = {
        "embedding": (60, 24),
        "layer.weight": (48, 24),
        "layer.bias": (48,),
        "head.weight": (7, 48),
        "norm": (24,),
    }
    arrays = {name: chance.standard_normal(shape).astype(np.float32) * 0.1 for name, shape in shapes.items()}
    return {name: _laid_out(torch.from_numpy(array)) for name, array in arrays.items()}


def _laid_out(tensor: Tensor) -> Tensor:
    """The same values in another order in memory, if ``LAYOUT`` says so."""
    if "LAYOUT" not in os.environ:
        return tensor
    if tensor.dim() == 2:
        return tensor.t().contiguous().t()
    return torch.stack([tensor, tensor], 1)[:, 1]  # every second number of a larger tensor


def methods() -> dict[str, bytes]:
    """The file of each method with its arguments, and of each preset.

    Raises:
        KeyError: a method of the registry has no arguments here.
    """
    plans = dict(PRESETS)
    for name in METHODS:
        for arguments in ARGUMENTS[name]:
            first = METHODS[name](**arguments)
            finish = [METHODS["half"]()] if name in ("prune", "low-rank", "interval") else []
            plans[f"{name} {arguments}"] = Plan(Rule("*", first, *finish))
    return {f"plan {name}": _bytes_of(compress(model(), plan)) for name, plan in plans.items()}


def coders() -> dict[str, bytes]:
    """What each coder makes of streams of one, two and four bytes a word."""
    chance, made = np.random.default_rng(12), {}
    for dtype, most in ((np.uint8, 40), (np.uint16, 900), (np.uint32, 70_000)):
        statistics = Statistics((chance.standard_exponential(5000) * most / 9).astype(dtype))
        able = {name: coder for name, coder in CODERS.items() if coder.lower_bound(statistics) is not None}
        made |= {f"coder {name} {dtype.__name__}": bytes(coder.encode(statistics)) for name, coder in able.items()}
    return made


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(24, 48)
        self.head = nn.Linear(48, 7)
        given = model()
        self.load_state_dict({n: given[n] if n in given else torch.zeros(7) for n in self.state_dict()})


def search() -> dict[str, bytes]:
    """The file that a search finds."""
    net = _Net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def evaluate(module: nn.Module) -> float:
        state = module.state_dict()
        return -sum(float((state[name].double() - tensor).abs().max()) for name, tensor in before.items())

    return {"search": _bytes_of(smallest(net, evaluate, 0.05, effort="quick", progress=False))}


def training() -> dict[str, bytes]:
    """The companion files of a training."""
    with tempfile.TemporaryDirectory() as folder:
        fit(Variant({"plan": "paper-transformer"}, [TOP | COPY]), Path(folder), 3)
        paths = sorted(Path(folder).rglob("*.safetensors"))
        return {f"training {path.name}": path.read_bytes() for path in paths}


def _bytes_of(archive: Archive) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        archive.save(path)
        return path.read_bytes()


def _shift_clock(seconds: float) -> None:
    now, nanoseconds = time.time, time.time_ns
    time.time = lambda: now() + seconds
    time.time_ns = lambda: nanoseconds() + int(seconds * 1e9)


def main() -> None:
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    logging.disable(logging.WARNING)
    _shift_clock(float(os.environ.get("CLOCK", "0")))
    parts = [methods, coders, search, training]
    if "RANK" in os.environ:
        place = os.environ["MEETING"]
        torch.distributed.init_process_group("gloo", init_method=place, rank=int(os.environ["RANK"]), world_size=2)
        parts.remove(training)  # which would be one training of two processes
    made = {name: content for part in parts for name, content in part().items()}
    print(json.dumps({name: hashlib.sha256(content).hexdigest() for name, content in made.items()}))


if __name__ == "__main__":
    main()
