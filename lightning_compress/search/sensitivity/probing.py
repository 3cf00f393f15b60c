"""Probes: random gradients whose second moment is the Fisher information of the module's answers.

The Kullback–Leibler divergence between the answers before and after a small change δ of the weights is half of δ F δᵀ,
with F = Jᵀ (diag p − p pᵀ) J summed over the answers, J being the derivative of the scores by the weights. A gradient
Jᵀ v has F as its second moment if v has the covariance in the middle. Signs ε, +1 or −1 at random, give one such v:
√p ε − p (√p · ε). Labels drawn from p would do too, as is usual; but a word of probability 1/1000 would then be felt
once in a thousand answers, and here is felt a little in each. True labels do not: their gradients have a mean, which
is no curvature (Kunstner et al. 2019).

Sources: Martens 2020, "New insights and perspectives on the natural gradient method", section 9.2; Hutchinson 1990, "A
stochastic estimator of the trace of the influence matrix" (signs); Kunstner, Balles and Hennig 2019, "Limitations of
the empirical Fisher approximation".
"""

from __future__ import annotations

import torch
from torch import Tensor


def probe(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """A scalar whose gradient is a probe.

    Args:
        outputs: scores before the softmax, ``[…, classes]``, that gradients flow from; classes at minus infinity are
            impossible and have no part.
        generator: of random numbers, in main memory.
    """
    likely = outputs.detach().float().softmax(-1)
    signs = torch.randint(0, 2, likely.shape, generator=generator, dtype=torch.int8).to(likely.device) * 2 - 1
    roots = likely.sqrt() * signs
    direction = roots - likely * roots.sum(-1, keepdim=True)
    return (outputs.float().masked_fill(likely == 0, 0) * direction).sum()
