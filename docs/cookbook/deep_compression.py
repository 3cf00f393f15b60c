"""Deep Compression: prune, cluster and code the weights of a classifier, each step with retraining."""

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint, Half, KMeans, Plan, PruneDuringTraining, QuantizeDuringTraining, Rule


def points(count: int) -> TensorDataset:
    """Points ``[count, 8]``, and whether their first half is longer than their second."""
    inputs = torch.randn(count, 8)
    return TensorDataset(inputs, (inputs[:, :4].norm(dim=1) > inputs[:, 4:].norm(dim=1)).long())


class LitClassifier(LightningModule):
    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.save_hyperparameters()
        hidden = nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        self.network = nn.Sequential(*hidden, nn.Linear(width, 2))

    def training_step(self, batch, index):
        return cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("accuracy", (self.network(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def validate(trainer: Trainer, model: LightningModule, data: DataLoader, **options: str) -> float:
    return trainer.validate(model, data, verbose=False, **options)[0]["accuracy"]


def trainer(*callbacks, epochs: int) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


if __name__ == "__main__":
    seed_everything(1)
    train, valid, model = DataLoader(points(2048), 64, shuffle=True), DataLoader(points(1024), 256), LitClassifier()
    exact = trainer(ModelCheckpoint("exact"), epochs=4)
    exact.fit(model, train, valid)
    print(f"accuracy of the exact weights: {validate(exact, model, valid):.3f}")

    # 32 steps in an epoch: 4 epochs prune, 2 train what is left, 4 train with 16 centroids.
    plan = Plan(Rule("*bias*", Half()), Rule("*", KMeans(16)))
    ours = PruneDuringTraining(0.9, end=128), QuantizeDuringTraining(plan, start=192), CompressCheckpoint(plan)
    small = trainer(ModelCheckpoint("small", filename="last"), *ours, epochs=10)
    small.fit(model, train, valid)
    accuracy = validate(small, LitClassifier(), valid, ckpt_path="small/last.compressed.safetensors")
    print(f"accuracy of the file, with 90 % of the weights pruned and 16 centroids for the others: {accuracy:.3f}")
