"""A regression started by LightningCLI, ``python lightning_cli.py fit``; the callback is a default of its trainer."""

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, load_from_checkpoint


class Waves(LightningDataModule):
    """The sine of the sum of eight numbers."""

    def __init__(self, points: int = 2048, batch_size: int = 64) -> None:
        super().__init__()
        inputs = torch.rand(points + 256, 8, generator=torch.Generator().manual_seed(1))
        data = TensorDataset(inputs, inputs.sum(1, keepdim=True).sin())
        self.train, self.valid = torch.utils.data.random_split(data, [points, 256])
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.valid, self.batch_size)


class LitRegression(LightningModule):
    def __init__(self, width: int = 64, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Linear(8, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )

    def training_step(self, batch, index):
        inputs, values = batch
        return mse_loss(self.layers(inputs), values)

    def validation_step(self, batch, index):
        inputs, values = batch
        self.log("val_loss", mse_loss(self.layers(inputs), values))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.hparams.learning_rate)


if __name__ == "__main__":
    cli = LightningCLI(
        LitRegression,
        Waves,
        seed_everything_default=1,
        save_config_callback=None,
        trainer_defaults={
            "max_epochs": 3,
            "callbacks": [
                ModelCheckpoint("checkpoints", filename="best", monitor="val_loss"),
                CompressCheckpoint(),
            ],
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    )
    if cli.subcommand == "fit":
        model = load_from_checkpoint(LitRegression, "checkpoints/best.compressed.safetensors")
        loss = cli.trainer.validate(model, cli.datamodule, verbose=False)[0]["val_loss"]
        print(f"validation loss of the file that was loaded back: {loss:.5f}")
