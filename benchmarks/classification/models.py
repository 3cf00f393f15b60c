"""The two classifiers."""

from __future__ import annotations

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.classification.data import LONGEST, PAD


class Classifier(LightningModule):
    """Trains a network that gives a score for each label."""

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        super().__init__()
        self.network, self.learning_rate = network, learning_rate

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, labels = batch
        return cross_entropy(self(inputs), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        inputs, labels = batch
        self.log("val_accuracy", (self(inputs).argmax(1) == labels).float().mean(), batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)


def convolutional() -> nn.Module:
    """Pictures ``[batch, 1, 8, 8]`` → scores of ten digits; 374,000 weights."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 64),
        *block(64, 128),
        nn.MaxPool2d(2),
        *block(128, 256),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


class Encoder(nn.Module):
    """Word ids ``[batch, LONGEST]`` → scores of labels, by a Transformer encoder and the mean over the words."""

    def __init__(self, words: int, labels: int, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=PAD)
        self.positions = nn.Embedding(LONGEST, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.classifier = nn.Linear(width, labels)

    def forward(self, ids: Tensor) -> Tensor:
        is_word = ids != PAD
        states = self.encoder(self.words(ids) + self.positions.weight, src_key_padding_mask=~is_word)
        return self.classifier((states * is_word[..., None]).sum(1) / is_word.sum(1, keepdim=True))
