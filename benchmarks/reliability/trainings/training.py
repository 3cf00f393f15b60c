"""Miniature trainings: a module of fifty weights that saves several checkpoints in half a second."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_compress.callbacks import CompressCheckpoint


class Miniature(pl.LightningModule):
    """Regression whose ``score`` goes up and down, and up in the long run."""

    def __init__(self, seed: int = 0, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 1))
        noise = torch.rand(64, generator=torch.Generator().manual_seed(7))
        self.scores = (noise + torch.linspace(0, 6, 64)).tolist()  # a training that resumes reaches new best ones

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        self.log("score", self.scores[self.global_step % 64])
        return functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


@dataclass(frozen=True)
class Variant:
    """How a training saves, and how it compresses.

    Attributes:
        callback: arguments of ``CompressCheckpoint``.
        saves: arguments of each ``ModelCheckpoint``; ``dirpath`` is a folder within that of the training, or a URL.
    """

    callback: Mapping[str, Any]
    saves: Sequence[Mapping[str, Any]] = field(default=({},))

    @property
    def when(self) -> str:
        """The policy."""
        return str(self.callback.get("when", "all"))

    @property
    def is_background(self) -> bool:
        """Whether a worker process writes the files."""
        return "background" in self.callback

    @property
    def is_searched(self) -> bool:
        """Whether the plan is searched in the training."""
        return self.callback["plan"] == "auto"


TOP = {"monitor": "score", "mode": "max", "save_top_k": 2}
LINK, COPY = {"save_last": "link"}, {"save_last": True}
BEST, LAST = {"plan": "half", "when": "best"}, {"plan": "half", "when": "last"}


def minus_error(module: nn.Module) -> float:
    """A score of a module that takes a millisecond."""
    x, y = _data()
    return -float(functional.mse_loss(module.net(x), y))  # type: ignore[operator]


AUTO = {"plan": "auto", "evaluate": minus_error, "max_drop": 0.05, "effort": "quick"}
VARIANTS = {
    "all, top 2, last copied": Variant({"plan": "half"}, [TOP | COPY]),
    "all, top 2, last linked": Variant({"plan": "half"}, [TOP | LINK]),
    "all, every step, top 3": Variant({"plan": "half"}, [TOP | {"save_top_k": 3, "every_n_train_steps": 1}]),
    "all, overwritten": Variant({"plan": "half"}, [{"filename": "model", "every_n_train_steps": 1}]),
    "all, paper plan": Variant({"plan": "paper-transformer"}, [{"save_top_k": -1} | LINK]),
    "best, last copied": Variant(BEST, [TOP | COPY]),
    "best, last linked": Variant(BEST, [TOP | LINK]),
    "best, every step": Variant(BEST, [TOP | LINK | {"every_n_train_steps": 1}]),
    "last, copied": Variant(LAST, [TOP | COPY]),
    "last, linked": Variant(LAST, [{"save_top_k": -1} | LINK]),
    "last, two folders": Variant(LAST, [TOP | {"dirpath": "best"}, {"dirpath": "newest"} | COPY]),
    "auto": Variant(AUTO, [TOP | COPY]),
    "all, background": Variant({"plan": "half", "background": "wait"}, [TOP | COPY]),
    "last, background": Variant(LAST | {"background": "latest"}, [TOP | COPY]),
    "all, overwritten, background": Variant(
        {"plan": "half", "background": "skip"}, [{"filename": "model", "every_n_train_steps": 1}]
    ),
}


def model_checkpoints(variant: Variant, folder: Path) -> list[ModelCheckpoint]:
    """The ``ModelCheckpoint`` callbacks of a training in a folder."""
    return [
        ModelCheckpoint(**{**save, "dirpath": _place(folder, save.get("dirpath", "run"))}) for save in variant.saves
    ]


def _place(folder: Path, name: str) -> str:
    return name if "://" in name else str(folder / name)


def trainer(variant: Variant, folder: Path, *others: pl.Callback, **settings: Any) -> pl.Trainer:
    """A quiet trainer; ``others`` are called after the callback that compresses."""
    defaults = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    defaults |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "max_epochs": 4}
    callbacks = [CompressCheckpoint(**variant.callback), *others, *model_checkpoints(variant, folder)]
    return pl.Trainer(default_root_dir=folder, callbacks=callbacks, **(defaults | settings))


def fit(
    variant: Variant, folder: Path, seed: int, *others: pl.Callback, batches: int = 2, **settings: Any
) -> pl.Trainer:
    """Train with some batches an epoch, from the checkpoint ``ckpt_path`` if that is given."""
    warnings.simplefilter("ignore")
    start = settings.pop("ckpt_path", None)
    made = trainer(variant, folder, *others, **settings)
    made.fit(Miniature(seed), DataLoader(TensorDataset(*_data(8 * batches)), batch_size=8), ckpt_path=start)
    return made


def _data(rows: int = 16) -> tuple[Tensor, Tensor]:
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(5))
    return x, x.sum(1, keepdim=True)
