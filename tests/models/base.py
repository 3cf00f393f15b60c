"""What the small models share: a loss to train, and predictions to compare."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader


class Model(pl.LightningModule):
    """A module with one batch of example inputs, which it is trained, tested and compared on."""

    tested: torch.Tensor | None = None  # the predictions of the last ``trainer.test``

    def example(self):
        """A batch of inputs ``[8, …]``."""
        return torch.rand(8, 6, generator=torch.Generator().manual_seed(5))

    def loss_of(self, batch):
        """A scalar whose gradient reaches every trained parameter."""
        return self(batch).square().mean()

    @torch.no_grad()
    def predictions(self):
        """What the model makes of the example, as one tensor."""
        self.eval()
        return self(self.example())

    def training_step(self, batch, batch_idx):
        return self.loss_of(batch)

    def test_step(self, batch, batch_idx):
        self.tested = self.predictions()

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=0.01)

    def train_dataloader(self):
        return DataLoader(self.example(), batch_size=4)

    def test_dataloader(self):
        return DataLoader(self.example(), batch_size=8)
