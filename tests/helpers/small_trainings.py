"""Small modules and trainers, seeded, that train in a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress.archive import Archive, is_archive

SCORES = (0.9, 0.5, 0.7, 0.3, 0.6, 0.2)


class Small(pl.LightningModule):
    """Regression with dropout and a score per epoch that the test chooses."""

    def __init__(self, width: int = 8, scores: tuple[float, ...] = SCORES) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(width)
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 1))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y))
        self.log("score", torch.tensor(self.hparams.scores[self.current_epoch % len(self.hparams.scores)]))

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_loss", F.mse_loss(self(x), y))

    def predict_step(self, batch, batch_idx):
        return self(batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return loader(shuffle=True)

    def val_dataloader(self):
        return loader()

    def test_dataloader(self):
        return loader()

    def predict_dataloader(self):
        return loader()


class Vision(Small):
    """A convolution and a batch norm, whose running statistics are buffers."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.Flatten(),
            nn.Linear(4 * channels, 1),
        )


class TwoOptimizers(Small):
    """Manual optimization of two parts in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.critic = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        first, second = self.optimizers()
        loss = F.mse_loss(self(x), y)
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        loss = self.critic(self(x).detach()).square().mean()
        second.zero_grad()
        self.manual_backward(loss)
        second.step()

    def configure_optimizers(self):
        first = torch.optim.Adam(self.net.parameters(), lr=0.01)
        return first, torch.optim.SGD(self.critic.parameters(), lr=0.1)


class Recurrent(Small):
    """An LSTM over the four inputs."""

    def __init__(self, hidden: int = 6) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lstm = nn.LSTM(1, hidden, num_layers=2, batch_first=True)
        self.net = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.net(self.lstm(x[..., None])[0][:, -1])


class Tied(Small):
    """Two layers that share one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.net = nn.Sequential(self.first, nn.ReLU(), self.second, nn.Linear(4, 1))


class Ordered(Small):
    """Batches in one order and no dropout, so that a resumed run has no other random numbers."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width)
        self.net[2].p = 0.0

    def train_dataloader(self):
        return self.val_dataloader()


class Compiled(Small):
    """Names as ``torch.compile`` makes them, without the compiler."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width)
        self.inner = nn.ModuleDict({"_orig_mod": self.net})
        del self.net

    def forward(self, x):
        return self.inner["_orig_mod"](x)


class StopAfter(pl.Callback):
    """Ends a run after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step >= self.steps


def loader(*, shuffle: bool = False) -> DataLoader:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(16, 4, generator=generator)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4, shuffle=shuffle)


def trainer(root: Path | str, *callbacks: pl.Callback, **options) -> pl.Trainer:
    """A quiet trainer on the CPU; three epochs of four steps unless told otherwise."""
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 3,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(default_root_dir=root, callbacks=list(callbacks), **{**settings, **options})


def fit_and_keep(folder, module, *callbacks, source=None, **options):
    """Train a module, keep the checkpoint of every epoch, and return it."""
    save = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer(folder, *callbacks, save, **options).fit(module, ckpt_path=source)
    return module


def expect_same_state(first, second):
    """Both modules have equal tensors."""
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=0)


def names(folder: Path, suffix: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob(f"*{suffix}")}


def expect_partners(folder: Path, *, others: set[str] = frozenset()) -> set[str]:
    """Every checkpoint has its file, every file its checkpoint, each reads back, and nothing else is there.

    Returns the checkpoints' names.
    """
    everything = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    compressed = {name for name in everything if name.endswith(".compressed.safetensors")}
    checkpoints = everything - compressed - others
    assert compressed == {name.removesuffix(".ckpt") + ".compressed.safetensors" for name in checkpoints}
    for name in checkpoints:
        partner = folder / (name.removesuffix(".ckpt") + ".compressed.safetensors")
        assert partner.is_symlink() == (folder / name).is_symlink()
        expect_same_weights(folder / name, partner)
    return checkpoints


def expect_same_weights(checkpoint: Path, partner: Path) -> None:
    """The file holds the checkpoint's weights, within what half precision loses."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    assert is_archive(partner)
    restored = Archive.open(partner).restore()
    assert set(restored) == set(state)
    for name, tensor in state.items():
        torch.testing.assert_close(restored[name], tensor, rtol=2**-7, atol=1e-30)
