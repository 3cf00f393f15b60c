"""A training run of a fraction of a second, with a validation and a checkpoint in each epoch."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress import CompressCheckpoint

# Advice of Lightning that does not apply to so short a run.
ADVICE = (
    "ignore:.*does not have many workers.*",
    "ignore:Checkpoint directory .* exists and is not empty.*",
    "ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)
SCORES = (20.0, 30.0, 25.0)


class Scored(pl.LightningModule):
    """Logs a given BLEU in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(16, 16)
        self.decoder = nn.Linear(16, 1)

    def training_step(self, batch, batch_idx):
        return self.decoder(self.encoder(batch[0])).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_bleu", SCORES[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def batches():
    """Two batches of two rows."""
    return DataLoader(TensorDataset(torch.ones(4, 16)), batch_size=2)


def fit(folder, *loggers, plan="half", epochs=3, **options):
    """Train and keep every checkpoint; the second one is the best."""
    checkpoints = ModelCheckpoint(folder / "run", "{epoch}", monitor="val_bleu", mode="max", save_top_k=-1)
    run = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=epochs,
        logger=list(loggers),
        callbacks=[CompressCheckpoint(plan, **options), checkpoints],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    module = Scored()
    run.fit(module, batches(), batches())
    assert run.state.finished
    assert len(list((folder / "run").glob("*.safetensors"))) == epochs
    return module
