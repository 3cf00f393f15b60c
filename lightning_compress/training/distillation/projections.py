"""Learned projections from hidden states of the student to the width of the teacher's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from lightning_compress.errors import TrainingError


class Projections:
    """A matrix for each hidden state whose width is not the teacher's, and the Adam optimizer that trains them.

    The regressor of A. Romero et al. 2015, "FitNets", section 2.2, and the matrix W_h of X. Jiao et al. 2020,
    "TinyBERT", equation 8. They belong to the training alone: neither student nor file has them. A matrix is made when
    its sizes are first seen, from a seed of its own, so the random numbers of the training stay as they are.

    Args:
        learning_rate: of Adam.
        is_shared: one matrix for all hidden states of the same two widths, as in TinyBERT's code; and in the spirit of
            the shared projections of S. Zhao et al. 2019, "Extreme Language Model Compression with Optimal Subwords and
            Shared Projections", section 3.3.
    """

    def __init__(self, learning_rate: float = 1e-3, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared
        self._learning_rate = learning_rate
        self._matrices: dict[str, Tensor] = {}
        self._optimizer: torch.optim.Adam | None = None

    def project(self, name: str, hidden: Tensor, width: int) -> Tensor:
        """The hidden state ``[…, own width]`` at the teacher's width, ``[…, width]``; as it is where they are equal.

        Raises:
            TrainingError: the matrix of this name was made for other widths.
        """
        own = hidden.shape[-1]
        if own == width:
            return hidden
        key = f"{own}→{width}" if self.is_shared else name
        if key not in self._matrices:
            generator = torch.Generator().manual_seed(len(self._matrices))
            first = torch.randn(width, own, generator=generator) / own**0.5
            self._add(key, first.to(hidden.device))
        matrix = self._matrices[key]
        if matrix.shape != (width, own):
            raise TrainingError(
                f"the projection is {list(matrix.shape)}, and the hidden states need {[width, own]}: resume with the "
                "student and the teacher of the checkpoint, or start a new training from its weights"
            )
        return F.linear(hidden, matrix)

    def step(self, scale: float = 1.0) -> None:
        """One step of the optimizer, by the gradients of the loss, which are that many times too large.

        With several processes, gradients are averaged over them. Gradients that overflowed at that scale are left out.
        """
        known = [each for each in self._matrices.values() if each.grad is not None]
        if self._optimizer is None or not known:
            return
        for matrix in known:
            assert matrix.grad is not None
            if distributed.is_initialized():
                distributed.all_reduce(matrix.grad)
                matrix.grad /= distributed.get_world_size()
            matrix.grad /= scale
        if scale == 1 or all(each.grad is not None and bool(each.grad.isfinite().all()) for each in known):
            self._optimizer.step()
        self._optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The matrices and the state of the optimizer."""
        if self._optimizer is None:
            return {}
        matrices = {name: each.detach().clone() for name, each in self._matrices.items()}
        return {"matrices": matrices, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from :meth:`state_dict`, on a device."""
        for name, matrix in state.get("matrices", {}).items():
            self._add(name, matrix.to(device, copy=True))
        if self._optimizer is not None:
            self._optimizer.load_state_dict(state["optimizer"])

    def _add(self, name: str, matrix: Tensor) -> None:
        self._matrices[name] = matrix.requires_grad_()
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam([matrix], lr=self._learning_rate)
        else:
            self._optimizer.add_param_group({"params": [matrix]})
