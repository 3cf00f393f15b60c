"""A plan made coarser or finer as a whole."""

from __future__ import annotations

from lightning_compress.plan import Plan, Rule


def scaled_plan(plan: Plan, factor: float) -> Plan:
    """The plan with every step this many times as large, as far as each method has one.

    A plan without steps comes back equal.
    """
    return Plan(*(_scaled_rule(rule, factor) for rule in plan.rules))


def _scaled_rule(rule: Rule, factor: float) -> Rule:
    methods = (method.scaled(factor) for method in rule.methods)
    return Rule(rule.pattern, *methods, by=rule.by, optional=rule.optional)
