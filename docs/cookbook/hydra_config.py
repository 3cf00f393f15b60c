"""A training that Hydra configures: the callback is one entry of the trainer's callbacks in the configuration.

Run ``python hydra_config.py``, or with another plan ``python hydra_config.py trainer.callbacks.1.plan=small``.
"""

import hydra
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig
from pytorch_lightning import LightningModule, seed_everything
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {
    "seed": 1,
    "model": {"_target_": "__main__.LitClassifier", "width": 64},
    "trainer": {
        "_target_": "pytorch_lightning.Trainer",
        "max_epochs": 3,
        "callbacks": [
            {
                "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
                "dirpath": "checkpoints",
                "filename": "best",
                "monitor": "val_accuracy",
                "mode": "max",
            },
            {"_target_": "lightning_compress.CompressCheckpoint", "plan": "safe"},
        ],
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
    "hydra": {"output_subdir": None, "run": {"dir": "."}},
}
ConfigStore.instance().store("training", CONFIG)


def points(count: int) -> TensorDataset:
    """Points ``[count, 8]``, and whether their first half is longer than their second."""
    inputs = torch.randn(count, 8)
    return TensorDataset(inputs, (inputs[:, :4].norm(dim=1) > inputs[:, 4:].norm(dim=1)).long())


class LitClassifier(LightningModule):
    def __init__(self, width: int) -> None:
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
        self.log("val_accuracy", (self.layers(inputs).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


@hydra.main(version_base=None, config_name="training")
def main(config: DictConfig) -> None:
    seed_everything(config.seed)
    train, valid = DataLoader(points(1024), 32, shuffle=True), DataLoader(points(512), 64)
    model, trainer = hydra.utils.instantiate(config.model), hydra.utils.instantiate(config.trainer)
    trainer.fit(model, train, valid)
    accuracy = trainer.validate(model, valid, "checkpoints/best.compressed.safetensors", verbose=False)
    print(f"accuracy of the file that was loaded back: {accuracy[0]['val_accuracy']:.3f}")


if __name__ == "__main__":
    main()
