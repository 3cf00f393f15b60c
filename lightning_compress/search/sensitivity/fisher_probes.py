"""Random gradients (probes) whose second moment is the Fisher information of the module's outputs.

A small change δ of the weights changes the output distribution by a Kullback–Leibler divergence of δ F δᵀ / 2, with
F = Jᵀ (diag p − p pᵀ) J summed over the outputs, where J is the derivative of the logits by the weights. A gradient
Jᵀ v has the second moment F if v has the covariance diag p − p pᵀ. Random signs ε (+1 or −1) give such a vector:
v = √p ε − p (√p · ε). Labels drawn from p would also do and are the usual choice, but a word of probability 1/1000
would then contribute to one output in a thousand, while here it contributes a little to each. True labels would not
do: their gradients have a non-zero mean, which is not curvature (Kunstner et al. 2019).

Sources: Martens 2020, "New insights and perspectives on the natural gradient method", section 9.2; Hutchinson 1990, "A
stochastic estimator of the trace of the influence matrix" (signs); Kunstner, Balles and Hennig 2019, "Limitations of
the empirical Fisher approximation".
"""

from __future__ import annotations

import torch
from torch import Tensor


def fisher_probe(logits: Tensor, generator: torch.Generator) -> Tensor:
    """A scalar whose gradient is a probe.

    Args:
        logits: scores before the softmax, ``[…, classes]``, with a gradient; logits of minus infinity mark impossible
            classes, which do not contribute.
        generator: random number generator in main memory.
    """
    p = logits.detach().float().softmax(-1)
    signs = torch.randint(0, 2, p.shape, generator=generator, dtype=torch.int8).to(p.device) * 2 - 1
    signed_roots = p.sqrt() * signs
    direction = signed_roots - p * signed_roots.sum(-1, keepdim=True)
    return (logits.float().masked_fill(p == 0, 0) * direction).sum()
