"""Plans: which method treats which tensor."""

from lightning_compress.errors import did_you_mean
from lightning_compress.plan.contract import Method
from lightning_compress.plan.methods import METHODS, register
from lightning_compress.plan.plan import DEFAULT_PLAN, PRESETS, Plan
from lightning_compress.plan.rule import Rule

__all__ = ["DEFAULT_PLAN", "METHODS", "PRESETS", "Method", "Plan", "Rule", "did_you_mean", "register"]
