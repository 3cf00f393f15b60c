"""``python -m benchmarks.classification --out DIR``: accuracy on unseen data before and after, as a table.

Needs scikit-learn. Each model is trained with the callback; the other files are made from its best checkpoint. The
search sees training and validation data only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.classification.data import LIBRARIES, Split, digits, library_sentences
from benchmarks.classification.models import Classifier, Encoder, convolutional
from lightning_compress import CompressCheckpoint, Score, compress, load, smallest

WORDS = 8_000
FP32, SEARCHED = "weights in fp32", "search 1 %"


@dataclass(frozen=True)
class Task:
    """A model, its data, its number of epochs, and the effort of its search."""

    module: Classifier
    split: Split
    epochs: int
    effort: str


def cnn() -> Task:
    """The convolutional network."""
    return Task(Classifier(convolutional(), 2e-3), digits(), 12, "default")


def bert() -> Task:
    """The BERT-like classifier."""
    split = library_sentences(words=WORDS, per_library=1_500)
    return Task(Classifier(Encoder(WORDS, len(LIBRARIES)), 5e-4), split, 8, "quick")


MODELS: dict[str, Callable[[], Task]] = {"cnn": cnn, "bert": bert}


def correct(module: Classifier, data: TensorDataset) -> Tensor:
    """Whether the label of each item is predicted, as 0 and 1."""
    with torch.no_grad():
        return torch.cat([(module(x).argmax(1) == y).float() for x, y in DataLoader(data, 256)])


class Calibration:
    """Training batches, their loss, and what the module answers."""

    def __init__(self, data: TensorDataset) -> None:
        self.batches = list(DataLoader(data, 32))

    def __iter__(self) -> Iterator[list[Tensor]]:
        return iter(self.batches)

    def loss(self, module: Classifier, batch: list[Tensor]) -> Tensor:
        """Of the training."""
        return cross_entropy(module(batch[0]), batch[1])

    def outputs(self, module: Classifier, batch: list[Tensor]) -> Tensor:
        """Scores of the labels."""
        return module(batch[0])


def measure(name: str, out: Path) -> Iterator[tuple[str, int, float]]:
    """Name, bytes, and accuracy in percent on the test data, of the checkpoint and of each file."""
    seed_everything(1)
    task = MODELS[name]()
    module, split = task.module, task.split
    print(name, *(len(part) for part in (split.train, split.valid, split.test)), "items", flush=True)
    saving = ModelCheckpoint(out, filename=name, monitor="val_accuracy", mode="max", enable_version_counter=False)
    trainer = Trainer(
        max_epochs=task.epochs,
        callbacks=[saving, CompressCheckpoint()],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(split.train, 64, shuffle=True), DataLoader(split.valid, 256))
    module.load_state_dict(torch.load(saving.best_model_path, weights_only=True)["state_dict"])
    module.eval()

    def accuracy() -> float:
        return 100 * float(correct(module, split.test).mean())

    exact = accuracy()
    yield ".ckpt", Path(saving.best_model_path).stat().st_size, exact
    yield FP32, sum(4 * tensor.numel() for tensor in module.state_dict().values()), exact
    calibration = Calibration(TensorDataset(*split.train[:1024]))
    files = {
        "safe": compress(module, "safe"),
        "small": compress(module, "small"),
        SEARCHED: smallest(
            module,
            lambda candidate: Score.mean_of(100 * correct(candidate, split.valid).numpy()),
            max_drop=0.01 * 100 * float(correct(module, split.valid).mean()),
            calibration=calibration,
            effort=task.effort,
        ),
    }
    for title, archive in files.items():
        path = out / f"{name}-{len(title)}.compressed.safetensors"
        archive.save(path)
        module.load_state_dict(load(path))
        yield title, path.stat().st_size, accuracy()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classification")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and files")
    parser.add_argument("--model", choices=sorted(MODELS), action="append", help="by default both")
    parser.add_argument("--csv", type=Path, default=Path("unseen.csv"), help="the measurements; rows are appended")
    options = parser.parse_args()
    for name in options.model or MODELS:
        rows = list(measure(name, options.out))
        fp32 = next(size for title, size, _ in rows if title == FP32)
        for title, size, accuracy in rows:
            ratio, exact = fp32 / size, rows[0][2]
            print(f"| {name} | {title} | {size:,} | {ratio:.1f}× | {accuracy:.1f} % |", flush=True)
            with options.csv.open("a", encoding="utf-8") as file:
                file.write(f"{name},{title},{size},{ratio:.4f},{exact:.3f},{accuracy:.3f}\n")


if __name__ == "__main__":
    main()
