"""Files without a search: the weights in half precision, or exactly."""

from __future__ import annotations

from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Half, Raw
from lightning_compress.search.optimize.trials import Trials

PLAIN = {
    "half": Plan(Rule("*", Half(rounding="nearest"), optional=True)),
    "lossless": Plan(Rule("*", Raw(), optional=True)),
}


def plain_name(trials: Trials) -> str | None:
    """The name of the plain plan of the incumbent; None where it is an archive of a family."""
    if trials.incumbent is None or trials.incumbent[0].family is not None:
        return None
    plan = trials.incumbent[1].manifest.plan
    return next(name for name, plain in PLAIN.items() if plain.to_config() == plan)
