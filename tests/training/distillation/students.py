"""Small students and teachers: a classifier of sequences, as a Transformer and as an LSTM."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS, LENGTH = 12, 6


class Encoder(nn.Module):
    """Word ids ``[b, n]`` → scores ``[b, 3]``, by torch's own Transformer layers."""

    def __init__(self, layers: int, width: int, heads: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True) for _ in range(layers)
        )
        self.scores = nn.Linear(width, 3)

    def forward(self, words):
        hidden = self.embedding(words)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.scores(hidden.mean(1))


class Recurrent(nn.Module):
    """The same by an LSTM in both directions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.scores = nn.Linear(2 * width, 3)

    def forward(self, words):
        return self.scores(self.lstm(self.embedding(words))[0].mean(1))


class Classifier(pl.LightningModule):
    """Trains a network on words whose class is that of their sum, or on words without classes."""

    def __init__(self, network: nn.Module, *, has_labels: bool = True, rate: float = 0.01) -> None:
        super().__init__()
        self.network, self.has_labels, self.rate = network, has_labels, rate

    def training_step(self, batch, batch_idx):
        scores = self.network(batch[0])
        if not self.has_labels:
            return torch.zeros(())
        return F.cross_entropy(scores, batch[0].sum(1) % 3)

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", F.cross_entropy(self.network(batch[0]), batch[0].sum(1) % 3))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)

    def train_dataloader(self):
        return DataLoader(TensorDataset(words(32)), batch_size=8)

    def val_dataloader(self):
        return self.train_dataloader()


def words(rows: int, seed: int = 3) -> torch.Tensor:
    """``[rows, length]`` ids."""
    return torch.randint(0, WORDS, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))


def seeded(make, *arguments, seed: int = 0, **options):
    """A module with weights of its own seed."""
    torch.manual_seed(seed)
    return make(*arguments, **options)
