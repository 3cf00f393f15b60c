"""A plan made coarser or finer as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

from lightning_compress.plan import Plan, Rule
from lightning_compress.plan.methods import Method
from lightning_compress.quantize import Grid, Interval

_BITS = range(1, 17)


def scaled_plan(plan: Plan, factor: float) -> Plan:
    """The plan with every step this many times as large; the step of an interval changes by whole bits.

    A plan without steps comes back equal.
    """
    return Plan(*(_scaled_rule(rule, factor) for rule in plan.rules))


def _scaled_rule(rule: Rule, factor: float) -> Rule:
    methods = (_scaled(method, factor) for method in rule.methods)
    return Rule(rule.pattern, *methods, by=rule.by, optional=rule.optional)


def _scaled(method: Method, factor: float) -> Method:
    if isinstance(method, Grid):
        return replace(method, step=method.step * factor)
    if isinstance(method, Interval):
        bits = method.bits - round(math.log2(factor))
        return replace(method, bits=min(max(bits, _BITS[0]), _BITS[-1]))
    return method
