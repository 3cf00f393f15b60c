"""Files without a search: the weights in half precision, or exactly."""

from __future__ import annotations

import logging

from lightning_compress.compression.pipeline import compress
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Half, Raw
from lightning_compress.search.trials.trials import Trials

_log = logging.getLogger(__name__)
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


def store_plainly(trials: Trials, max_drop: float) -> None:
    """Half precision if it is feasible; else losslessly, which needs no evaluation. No file of a family is kept."""
    trials.choose(None)
    if trials.remaining > 0 and not trials.interrupted:
        half = trials.evaluate(compress(trials.evaluator.weights, PLAIN["half"]))
        trials.choose(trials.objective.best([half]))
    if trials.incumbent is None:
        store_exactly(trials)
    _log.warning(
        "no quantized file loses at most %.4g of the score %.4g: the weights are stored %s",
        max_drop,
        trials.before.value,
        {"half": "in half precision", "lossless": "exactly"}[plain_name(trials) or "lossless"],
    )


def store_exactly(trials: Trials) -> None:
    """Losslessly: the score is that of the exact weights, so nothing is evaluated."""
    trials.keep_exact(compress(trials.evaluator.weights, PLAIN["lossless"]))
