"""The module that every interpreter trains and reads back."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Model(pl.LightningModule):
    """A linear map with a buffer; its hyper-parameters have several types."""

    def __init__(self, size: int, betas: tuple[float, float], names: list[str], limit: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.linear = nn.Linear(size, 3)
        self.register_buffer("seen", torch.tensor(0))

    def training_step(self, batch: Any, index: int) -> Tensor:
        return self.linear(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def batches(self) -> DataLoader[Any]:
        """Two batches of numbers that depend on no generator."""
        data = torch.arange(8 * self.hparams["size"], dtype=torch.float32).reshape(8, -1) / 100
        return DataLoader(TensorDataset(data), batch_size=4)
