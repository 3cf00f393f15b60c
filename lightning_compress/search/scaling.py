"""A plan made coarser or finer as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Interval

_BITS = range(1, 17)


def scaled_plan(plan: Plan, factor: float) -> Plan:
    """The plan with every step this many times as large; the step of an interval changes by whole bits.

    A plan without steps comes back equal.
    """
    return Plan(*(_scaled_rule(rule, factor) for rule in plan.rules))


def _scaled_rule(rule: Rule, factor: float) -> Rule:
    methods = (_scaled(method, factor) if isinstance(method, Interval) else method for method in rule.methods)
    return Rule(rule.pattern, *methods, by=rule.by, optional=rule.optional)


def _scaled(interval: Interval, factor: float) -> Interval:
    bits = interval.bits - round(math.log2(factor))
    return replace(interval, bits=min(max(bits, _BITS[0]), _BITS[-1]))
