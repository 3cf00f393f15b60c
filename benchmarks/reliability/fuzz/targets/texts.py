"""Plans, patterns and exact values."""

from __future__ import annotations

from functools import cache
from random import Random

import yaml

from benchmarks.reliability.fuzz.mutation import changed_json, changed_text
from benchmarks.reliability.fuzz.outcome import Comparison, Target, same
from benchmarks.reliability.fuzz.specimens import plans, texts, weights
from lightning_compress import Plan
from lightning_compress.errors import PlanError
from lightning_compress.plan.plan_text import read_yaml
from lightning_compress.weights import NotHeldError, dump, parse


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


TARGETS = (
    Target("plan", 0.03, (PlanError,), read_plan),
    Target("value", 0.225, (NotHeldError,), read_value),
)
