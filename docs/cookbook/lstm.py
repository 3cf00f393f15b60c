"""An LSTM language model of letters that learns the spelling of numbers."""

import random

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from lightning_compress import CompressCheckpoint, load_from_checkpoint

TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
LETTERS = " -abcdefghijklmnopqrstuvwxyz"


def text(count: int) -> torch.Tensor:
    """Spelled numbers, as ids ``[lines, 32]`` of letters."""
    words = " ".join(f"{random.choice(TENS)}-{random.choice(ONES)}" for _ in range(count))
    ids = torch.tensor([LETTERS.index(letter) for letter in words])
    return ids[: len(ids) // 32 * 32].view(-1, 32)


class LitLanguageModel(LightningModule):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.letters = nn.Embedding(len(LETTERS), width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, len(LETTERS))

    def loss(self, ids):
        states, _ = self.lstm(self.letters(ids[:, :-1]))
        return cross_entropy(self.head(states).flatten(0, 1), ids[:, 1:].flatten())

    def training_step(self, ids, index):
        return self.loss(ids)

    def validation_step(self, ids, index):
        self.log("val_loss", self.loss(ids))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


if __name__ == "__main__":
    seed_everything(1)
    train, valid = DataLoader(text(2000), 16, shuffle=True), DataLoader(text(200), 64)
    trainer = Trainer(
        max_epochs=2,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_loss"),
            CompressCheckpoint("small"),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitLanguageModel(), train, valid)

    model = load_from_checkpoint(LitLanguageModel, "checkpoints/best.compressed.safetensors")
    loss = trainer.validate(model, valid, verbose=False)[0]["val_loss"]
    print(f"validation loss of the file that was loaded back: {loss:.3f} nats per letter")
