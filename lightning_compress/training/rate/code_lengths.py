"""The code length of grid indices as a differentiable function of the weights.

The index of a weight costs −log₂ of the probability that the model of its context gives it: a discretised generalized
Gaussian prior plus the counts of the indices (:mod:`lightning_compress.coding.contexts`). Between two indices the code
length is interpolated linearly, so its slope is what the next index costs more. At a minimum of loss + rate the model
itself may be held constant: a model that is fitted to the indices has no gradient (envelope theorem).

P. A. Chou, T. Lookabaugh and R. M. Gray 1989, "Entropy-constrained vector quantization"; D. Oktay et al. 2020,
"Scalable Model Compression by Entropy Penalized Reparameterization", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_compress.coding.models.adaptive import Blocks
from lightning_compress.coding.models.model_fit import fit
from lightning_compress.quantize import GridPayload, Words, matrix_shape, row_scales
from lightning_compress.runtime.compiler import has_compiler_for, read_only

Table = NDArray[np.float32]

_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class CodeLengths:
    """The code lengths of the indices of one tensor.

    Attributes:
        scales: ``[rows, 1]`` float32: the step of each row.
        contexts: ``[rows, columns]`` uint8: the context of each weight.
        bits: ``[contexts, 2 · largest + 3]`` float32: code length of each index, from −largest − 1.
        offsets: ``[columns]`` what is added to the grid; None where nothing is.
    """

    scales: Tensor
    contexts: Tensor
    bits: Tensor
    offsets: Tensor | None

    @classmethod
    def of(cls, payload: GridPayload) -> CodeLengths:
        """The code lengths under the model that is fitted to the indices of a payload without a trellis."""
        rows, columns = matrix_shape(payload.shape)
        groups = np.split(payload.words, np.cumsum(payload.groups)[:-1])
        symbols = max(int(payload.words.max(initial=0)) + 1, 2)
        bits = _code_lengths([group for group in groups if len(group)], symbols)
        table = np.zeros((len(groups), bits.shape[1]), np.float32)
        table[[len(group) > 0 for group in groups]] = bits
        contexts = np.ascontiguousarray(payload.classes.map(rows, columns).T)
        offsets = None if payload.offsets is None else payload.offsets.values().float()
        scales = row_scales(payload.step, payload.exponents, rows).float()[:, None]
        return cls(scales, torch.from_numpy(contexts), torch.from_numpy(table), offsets)

    def to(self, device: torch.device) -> CodeLengths:
        """The same on a device."""
        offsets = None if self.offsets is None else self.offsets.to(device)
        return CodeLengths(self.scales.to(device), self.contexts.to(device), self.bits.to(device), offsets)

    def with_scales(self, scales: Tensor) -> CodeLengths:
        """The same code lengths of indices, for other steps: ``[rows]``."""
        return replace(self, scales=scales.float()[:, None].to(self.scales.device))

    def shifted(self, weight: Tensor) -> Tensor:
        """The weights without the offsets of their columns, in the weight's shape."""
        if self.offsets is None:
            return weight
        return (weight.reshape(self.contexts.shape) - self.offsets).reshape(weight.shape)

    def gradient(self, weight: Tensor) -> Tensor:
        """The derivative of the code length of each weight, bits per unit of the weight; in the weight's shape.

        Within half a step of 0, where the index is 0 already, it falls linearly to 0.
        """
        rows, columns = self.contexts.shape
        matrix, result = weight.detach().reshape(rows, columns), torch.empty(rows, columns, device=weight.device)
        slopes = self.bits[:, 1:] - self.bits[:, :-1]
        if matrix.device.type == "cpu" and matrix.dtype == torch.float32 and has_compiler_for(matrix.numel()):
            from lightning_compress.training.rate.slope_loops import take_slopes

            offsets = torch.zeros(columns) if self.offsets is None else self.offsets
            take_slopes(
                read_only(matrix.contiguous().numpy()),
                read_only(offsets.numpy()),
                read_only(self.scales[:, 0].numpy()),
                read_only(self.contexts.numpy()),
                read_only(slopes.numpy()),
                result.numpy(),
            )
            return result.reshape(weight.shape)
        slopes, width = slopes.reshape(-1), self.bits.shape[1] - 1
        size = max(1, _CHUNK // max(1, columns))
        for start in range(0, rows, size):
            part = slice(start, start + size)
            shifted = matrix[part] if self.offsets is None else matrix[part] - self.offsets
            place = shifted / self.scales[part]
            cell = place.floor().add_(width // 2).clamp_(0, width - 1)
            cell = cell.to(torch.int32).add_(self.contexts[part].to(torch.int32), alpha=width)
            torch.mul(slopes[cell], place.abs_().mul_(2).clamp_(max=1), out=result[part])
            result[part] /= self.scales[part]
        return result.reshape(weight.shape)


def _code_lengths(groups: list[Words], symbols: int) -> Table:
    """``[groups, 2 · largest + 3]`` bits of each signed index, and of one on both sides that does not occur."""
    blocks = Blocks.of(groups, symbols)
    model, scales = fit(blocks)
    counts = np.stack([blocks.seen[blocks.group == group].sum(0) for group in range(len(groups))])
    weights = (model.starts(scales) + model.learned(counts)).astype(np.float64)
    lengths = np.log2(weights.sum(1, keepdims=True)) - np.log2(weights)
    largest = symbols // 2
    signed = np.arange(-largest - 1, largest + 2)
    zigzag = np.where(signed < 0, -2 * signed - 1, 2 * signed)
    bits: Table = lengths[:, np.minimum(zigzag, symbols - 1)].astype(np.float32)
    bits[:, 0], bits[:, -1] = 2 * bits[:, 1] - bits[:, 2], 2 * bits[:, -2] - bits[:, -3]
    return bits
