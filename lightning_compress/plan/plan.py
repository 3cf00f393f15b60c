"""Plans: ordered rules, in Python or YAML, checked when they are built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml

from lightning_compress.errors import PlanError, did_you_mean
from lightning_compress.files import read_bytes
from lightning_compress.plan.methods import check_keys
from lightning_compress.plan.patterns import is_covered, selects_all
from lightning_compress.plan.plan_text import check_numbers, read_yaml
from lightning_compress.plan.rule import Rule
from lightning_compress.prune import Prune
from lightning_compress.quantize import Grid, Half, Interval, Raw
from lightning_compress.weights import Weight, Weights


@dataclass(frozen=True, init=False)
class Plan:
    """An ordered list of rules; the first that selects a tensor treats it, and what none selects is kept exactly.

    A tensor that is no weight but a constant, such as a buffer (:attr:`Weight.reason`), is treated only by a rule that
    names it (:meth:`Rule.singles_out`), and otherwise kept exactly.

    Raises:
        PlanError: no rules, or a rule that earlier ones leave nothing to.
    """

    rules: tuple[Rule, ...]

    def __init__(self, *rules: Rule) -> None:
        if not rules:
            raise PlanError("a plan needs at least one rule, such as Rule('*', Half())")
        for rule in rules:
            if not isinstance(rule, Rule):
                raise PlanError(f"a plan is made of rules, got {type(rule).__name__}: write Rule('*', …)")
        for position, rule in enumerate(rules):
            _check_reachable(rule, rules[:position])
        object.__setattr__(self, "rules", rules)

    def assign(self, weights: Weights) -> list[Rule | None]:
        """The rule of each weight, in order; None where no rule selects it, and where it is kept exactly.

        Raises:
            PlanError: a rule that is not optional selects nothing in this model.
        """
        selected = [[rule for rule in self.rules if rule.selects(*known)] for known in _names_and_classes(weights)]
        found = {id(rule) for rules in selected for rule in rules}
        for rule in self.rules:
            if not rule.optional and id(rule) not in found:
                raise PlanError(_nothing_selected(rule, weights))
        names = [known[0] for known in _names_and_classes(weights)]
        return [next(_applied(*each), None) for each in zip(weights, names, selected, strict=True)]

    def overruled(self, weights: Weights) -> dict[str, str]:
        """Name → why the tensor is kept exactly, for those that the plan would change if they were weights."""
        found = {}
        for weight, known in zip(weights, _names_and_classes(weights), strict=True):
            if weight.reason is None:
                continue
            rules = [rule for rule in self.rules if rule.selects(*known)]
            if rules and rules[0].is_lossy and next(_applied(weight, known[0], rules), None) is None:
                found[weight.name] = weight.reason
        return found

    def to_config(self) -> dict[str, Any]:
        """Plain data for YAML or JSON; :meth:`from_config` makes an equal plan of it."""
        return {"rules": [rule.to_config() for rule in self.rules]}

    @classmethod
    def from_config(cls, config: object) -> Plan:
        """The plan of plain data.

        Raises:
            PlanError: an unknown key or method, or a value out of range.
        """
        rules = check_keys("a plan", config, {"rules"}).get("rules")
        check_numbers(config)
        if not isinstance(rules, list):
            raise PlanError(f"rules is {rules!r:.80}, expected a list of rules")
        return cls(*map(Rule.from_config, rules))

    @classmethod
    def from_yaml(cls, path: str | PathLike[str]) -> Plan:
        """The plan of a YAML file.

        Raises:
            PlanError: it cannot be read, is not YAML, or is no plan.
        """
        try:
            text = bytes(read_bytes(fspath(path))).decode()
        except OSError as error:
            raise PlanError(f"cannot read the plan {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise PlanError(f"the plan {path} is not YAML: {error}") from error
        try:
            return cls._from_text(text)
        except PlanError as error:
            raise PlanError(f"{path}: {error}") from error

    @classmethod
    def _from_text(cls, text: str) -> Plan:
        return cls.from_config(read_yaml(text))

    def to_yaml(self) -> str:
        """The plan as a YAML document."""
        return yaml.safe_dump(self.to_config(), sort_keys=False)

    @classmethod
    def resolve(cls, plan: Plan | str | PathLike[str]) -> Plan:
        """A plan, the name of a preset, the path of a YAML file, or YAML text in braces → the plan.

        The text is what Lightning's command line makes of a YAML path.

        Raises:
            PlanError: no such preset or file, or a wrong plan in it.
        """
        if isinstance(plan, Plan):
            return plan
        if not isinstance(plan, (str, PathLike)):
            raise PlanError(f"a plan is a Plan, a preset's name or a YAML path, got {type(plan).__name__}")
        name = fspath(plan)
        if name in PRESETS:
            return PRESETS[name]
        if name.startswith("{"):
            return cls._from_text(name)
        if Path(name).suffix in (".yaml", ".yml") or Path(name).is_file():
            return cls.from_yaml(name)
        raise PlanError(
            f"no preset and no file is called {name!r}{did_you_mean(name, PRESETS)}; presets are {', '.join(PRESETS)}"
        )


def _names_and_classes(weights: Weights) -> list[tuple[list[str], list[str]]]:
    """The names and the classes of each stored tensor, in order: its own, and those of the tensors tied to it."""
    known = {weight.name: ([weight.name], [weight.class_name]) for weight in weights}
    for alias, tie in weights.ties.items():
        names, classes = known[tie.of]
        names.append(alias)
        classes.append(weights.tied_classes.get(alias, classes[0]))
    return list(known.values())


def _applied(weight: Weight, names: Sequence[str], rules: Sequence[Rule]) -> Iterator[Rule]:
    """Those of the rules that select a tensor that may treat it: for a tensor that is no weight, those that name it."""
    return (rule for rule in rules if weight.reason is None or rule.singles_out(names))


def _check_reachable(rule: Rule, earlier: Sequence[Rule]) -> None:
    same_kind = [other.pattern for other in earlier if other.by == rule.by]
    everything = [other.pattern for other in earlier if selects_all(other.pattern)]
    if earlier and is_covered(rule.pattern, same_kind + everything):
        raise PlanError(
            f"rule {rule.pattern!r} can never apply: the rules before it take every {rule.by} it selects. "
            "Put it before them, or remove it."
        )


def _nothing_selected(rule: Rule, weights: Weights) -> str:
    known = list(dict.fromkeys(w.class_name if rule.by == "class" else w.name for w in weights))
    what = "classes" if rule.by == "class" else "tensors"
    return (
        f"rule {rule.pattern!r} selects none of the model's {len(known)} {what}{did_you_mean(rule.pattern, known)}; "
        f"they are {', '.join(known[:5])}{' …' if len(known) > 5 else ''}. Correct the pattern, or write optional=True."
    )


def _grid(step: float) -> Plan:
    """Multiples of a step, in standard deviations of each tensor."""
    return Plan(Rule("*", Grid(step, relative=True, scope="tensor"), Half(rounding="nearest"), optional=True))


DEFAULT_PLAN = "safe"
# By their effect: docs/plans.md has the measured ratio and loss of each. Then storage alone, and those of the paper.
PRESETS: dict[str, Plan] = {
    "exact": Plan(Rule("*", Raw(), optional=True)),
    "safe": Plan(Rule("*", Half(rounding="nearest"), optional=True)),
    "small": _grid(0.1),
    "smallest": _grid(0.25),
    "half": Plan(Rule("*", Half(), optional=True)),
    "paper-transformer": Plan(Rule("*", Prune(0.15, "class-uniform"), Interval(6, 0.98), Half(), optional=True)),
    "paper-rnn": Plan(Rule("*", Prune(0.4, "class-blind"), Interval(4, 0.98), Half(), optional=True)),
}
