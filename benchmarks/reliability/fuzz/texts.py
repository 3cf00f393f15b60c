"""Plans, patterns, exact values, and checkpoints that other programs wrote."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path
from random import Random

import yaml

from benchmarks.reliability.fuzz.mutation import changed_bytes, changed_json, changed_text
from benchmarks.reliability.fuzz.outcome import Comparison, Target, same
from benchmarks.reliability.fuzz.specimens import as_checkpoint, legacy_checkpoint, pickles, plans, texts, weights
from lightning_compress import Plan
from lightning_compress.errors import PlanError, WeightsError
from lightning_compress.plan.plan_text import read_yaml
from lightning_compress.weights import NotHeldError, dump, parse
from lightning_compress.weights.reading.checkpoint import read_checkpoint


def read_plan(random: Random) -> Comparison:
    """The YAML text or the plain data of a plan; one that is accepted is assigned, written and read again."""
    text, as_yaml = random.choice(plans()), random.random() < 0.1  # parsing YAML takes most of the time
    plan = Plan.from_config(read_yaml(changed_text(random, text)) if as_yaml else changed_json(random, yaml_data(text)))
    plan.assign(weights())
    return same(plan, lambda: Plan.from_config(read_yaml(plan.to_yaml()) if as_yaml else plan.to_config()))


@cache
def yaml_data(text: str) -> object:
    """The plain data of a sound plan."""
    return yaml.safe_load(text)


def read_value(random: Random) -> Comparison:
    """The text of a value, as files hold hyper-parameters; one that is accepted is what a writer makes of it."""
    text = changed_text(random, random.choice(texts()))
    value = parse(text)
    return same(text, lambda: dump(value))


def read_saved(random: Random) -> Comparison:
    """A checkpoint of ``torch.save`` with a changed pickle or changed bytes."""
    pickled = random.choice(pickles())
    if random.random() < 0.8:
        pickled = changed_bytes(random, pickled)
    data = (as_checkpoint if random.random() < 0.8 else legacy_checkpoint)(pickled)
    if random.random() < 0.2:
        data = changed_bytes(random, data)
    path = _place()
    path.write_bytes(data)
    read = read_checkpoint(str(path))
    return same(True, lambda: all(isinstance(name, str) for name in read.state))


@cache
def _place() -> Path:
    """A path in memory, where the system has such a folder; one for each process."""
    shared = Path("/dev/shm")
    folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    return folder / f"lightning-compress-fuzz-{os.getpid()}.ckpt"


TARGETS = (
    Target("plan", 0.03, (PlanError,), read_plan),
    Target("value", 0.235, (NotHeldError,), read_value),
    Target("checkpoint", 0.01, (WeightsError,), read_saved),
)
