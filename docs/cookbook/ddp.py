"""Two processes on the CPU (DDP); rank 0 writes each file once, and every rank can load it."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint


def points(count: int) -> TensorDataset:
    """Points ``[count, 8]``, and whether their first half is longer than their second."""
    inputs = torch.randn(count, 8)
    return TensorDataset(inputs, (inputs[:, :4].norm(dim=1) > inputs[:, 4:].norm(dim=1)).long())


class LitClassifier(LightningModule):
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(
            nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )

    def training_step(self, batch, index):
        inputs, labels = batch
        return cross_entropy(self.layers(inputs), labels)

    def validation_step(self, batch, index):
        inputs, labels = batch
        self.log("val_accuracy", (self.layers(inputs).argmax(1) == labels).float().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


if __name__ == "__main__":
    seed_everything(1)
    train, valid = DataLoader(points(1024), 16, shuffle=True), DataLoader(points(512), 64)
    trainer = Trainer(
        max_epochs=3,
        callbacks=[
            ModelCheckpoint("checkpoints", filename="best", monitor="val_accuracy", mode="max"),
            CompressCheckpoint(),
        ],
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",  # or "ddp", on GPUs too
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = LitClassifier()
    trainer.fit(model, train, valid)
    scores = trainer.validate(model, valid, "checkpoints/best.compressed.safetensors", verbose=False)
    print(f"accuracy of the file, by both processes: {scores[0]['val_accuracy']:.3f}")
