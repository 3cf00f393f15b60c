"""Choices among files whose true drops are known, by measured drops and by the posterior."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from lightning_compress.search.optimize.surrogate import Surrogate
from lightning_compress.search.optimize.trial_data import TrialData

MAX_DROP, SEARCHES, FILES = 0.3, 60, 20
SIZES = np.linspace(12.3, 11.5, FILES)  # logarithms of bytes
CROSSING, RATE = 11.9, 4.0  # where the mean drop is what is allowed, and how steeply it rises
OWN, SAMPLING, SHARED = 0.1, 0.2, 0.5  # deviations of true and of measured drops; what of the variance all files share
PROXY = 0.05  # deviation of the logarithm of a divergence from the power law
USUAL = 0.7  # of the logarithm of what files lose, from what files lose as a rule that change the items as much
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9)


def table() -> Iterator[str]:
    """How often a choice breaks its word, what it loses, and what it costs; in Markdown, line by line."""
    results: dict[tuple[str, str], list[tuple[bool, float, float]]] = {}
    draws = np.random.default_rng(0)
    noise = SAMPLING**2 * (SHARED * np.ones((FILES, FILES)) + (1 - SHARED) * np.eye(FILES))
    for _ in range(SEARCHES):
        true = MAX_DROP * np.exp(-RATE * (SIZES - CROSSING)) + draws.normal(0, OWN, FILES)
        drops = true + draws.multivariate_normal(np.zeros(FILES), noise)
        usual = torch.full((FILES,), math.log(MAX_DROP) + draws.normal(0, USUAL), dtype=torch.float64)
        usual += torch.from_numpy(-RATE * (SIZES - CROSSING))
        divergences = -RATE * SIZES + draws.normal(0, PROXY, FILES)
        for proxy, known in (("bytes", None), ("divergence", torch.from_numpy(divergences))):
            data = TrialData(
                torch.from_numpy(SIZES)[:, None],
                torch.from_numpy(drops),
                torch.ones(1, dtype=torch.float64),
                MAX_DROP,
                SAMPLING,
                noise=torch.from_numpy(noise),
                usual=usual,
                divergences=known,
            )
            probability = Surrogate(data).true_drops.probability.numpy()
            for level in (0.0, *LEVELS):
                allowed = np.flatnonzero((drops <= MAX_DROP) & (probability >= level))
                name = f"`assured={level:g}`" if level else "smallest measured"
                if len(allowed):
                    chosen = int(allowed.max())
                    outcome = (bool(true[chosen] > MAX_DROP), float(true[chosen]), float(CROSSING - SIZES[chosen]))
                    results.setdefault((proxy, name), []).append(outcome)
    yield "| proxy | choice | breaks its word | mean true drop | bytes, relative to a file of 0.3 |"
    yield "|---|---|---|---|---|"
    for (proxy, name), found in results.items():
        broken, mean, saved = (float(np.mean([one[k] for one in found])) for k in range(3))
        yield f"| {proxy} | {name} | {100 * broken:.0f} % | {mean:.2f} | {100 * (math.exp(-saved) - 1):+.0f} % |"
