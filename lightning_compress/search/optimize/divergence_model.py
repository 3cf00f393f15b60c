"""Prediction of the divergence of files that were not made, from that of the trials.

The divergence of a file from the exact weights is nearly free of noise, and follows the squared error of its parts: it
is a power of their bytes, summed over parts. Files that share parts with a trial share its deviation from this law.
"""

from __future__ import annotations

import torch
from torch import Tensor

_EXPONENT_DEVIATION = 0.2  # of the prior of the exponent, around that of squared errors
_NOISE = 0.05  # of the logarithm of a divergence
_DEVIATION = 0.2  # of the logarithm of a divergence from the power law, shared through equal parts


def predicted_log_divergence(known: Tensor, powers: Tensor, of_files: Tensor, own: Tensor, overlap: Tensor) -> Tensor:
    """``[files]``: logarithm of the divergence of files.

    The linear model has a flat prior for its constant and a normal one for its exponent (Rasmussen and Williams 2006,
    "Gaussian processes for machine learning", section 2.7).

    Args:
        known: ``[trials]``, logarithms of the divergences of the trials.
        powers: ``[trials]``, logarithm of the power law of each trial, up to a constant.
        of_files: ``[files]``, likewise.
        own: ``[trials, trials]``, the share of the weights that two trials have in common.
        overlap: ``[trials, files]``, likewise.
    """
    centre, middle = powers.mean(), known.mean()
    x, y = powers - centre, known - middle
    precision = _NOISE**2 + _DEVIATION**2
    exponent = (precision / _EXPONENT_DEVIATION**2 + x @ y) / (precision / _EXPONENT_DEVIATION**2 + x @ x)
    covariance = _DEVIATION**2 * own + _NOISE**2 * torch.eye(len(known), dtype=torch.float64)
    weights = torch.linalg.solve(covariance, y - exponent * x)
    predicted: Tensor = middle + exponent * (of_files - centre) + _DEVIATION**2 * overlap.T @ weights
    return predicted
