"""A small convolutional network that says in which quarter of a noisy picture the bright square is."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, load_from_checkpoint


def pictures(count: int) -> TensorDataset:
    """Pictures ``[count, 1, 16, 16]`` and the quarter of each, 0 to 3."""
    quarters = torch.randint(4, (count,))
    images = torch.randn(count, 1, 16, 16)
    for image, quarter in zip(images, quarters.tolist(), strict=True):
        row, column = 8 * (quarter // 2), 8 * (quarter % 2)
        image[0, row + 2 : row + 6, column + 2 : column + 6] += 1.5
    return TensorDataset(images, quarters)


class LitCNN(LightningModule):
    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(4),
            nn.Conv2d(channels, 4 * channels, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * channels * 16, 4),
        )

    def training_step(self, batch, index):
        images, quarters = batch
        return cross_entropy(self.layers(images), quarters)

    def validation_step(self, batch, index):
        images, quarters = batch
        self.log("val_accuracy", (self.layers(images).argmax(1) == quarters).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


if __name__ == "__main__":
    seed_everything(1)
    train, valid = DataLoader(pictures(256), 32, shuffle=True), DataLoader(pictures(128), 64)
    trainer = Trainer(
        max_epochs=2,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_accuracy", mode="max"),
            CompressCheckpoint(),
        ],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitCNN(), train, valid)

    model = load_from_checkpoint(LitCNN, "checkpoints/best.compressed.safetensors")
    accuracy = trainer.validate(model, valid, verbose=False)[0]["val_accuracy"]
    print(f"accuracy of the file that was loaded back: {accuracy:.3f}")
