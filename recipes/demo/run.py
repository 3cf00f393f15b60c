"""The demo's steps: corpus, training with the callback, and a table of the files that came out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from lightning_compress import compress
from lightning_compress.files import companion_of
from recipes.command import run_trainer
from recipes.data.text_files import read_lines, read_parallel
from recipes.demo.grammar import write_corpus
from recipes.training.bleu import Bleu
from recipes.translate import load_translator
from recipes.translation import Translation

PRESETS = ("safe", "small")


@dataclass(frozen=True)
class Row:
    """A file, its bytes on disk, and the BLEU of what was read back from it."""

    name: str
    path: Path
    size: int
    bleu: float


def run(output: Path, *, pairs: int, held_out: int = 500, seed: int) -> list[Row]:
    """Run the demo: every file goes below ``output``, the table and a sample translation to the terminal.

    Args:
        output: folder, made if it is not there; what an earlier demo left there is replaced.
        pairs: number of training pairs.
        held_out: number of pairs for validation, and as many for the test.
        seed: decides corpus and training.

    Returns:
        the lines of the table.
    """
    console = Console(highlight=False)
    corpus = output / "corpus"
    write_corpus(corpus, train=pairs, valid=held_out, test=held_out, seed=seed)
    train(output, corpus, seed=seed)
    checkpoint = output / "checkpoints" / "best.ckpt"
    compressed = Path(companion_of(checkpoint))
    module = load_translator(checkpoint)
    plain = output / "fp32.safetensors"
    save_file(module.state_dict(), plain)
    rows = [
        measure("checkpoint, to resume from", checkpoint, module, corpus),
        measure("weights in fp32", plain, with_weights(module, plain), corpus),
    ]
    for name in PRESETS:
        path = output / f"{name}.compressed.safetensors"
        compress(load_translator(checkpoint), name).save(path)
        rows.append(measure(name, path, load_translator(path), corpus))
    rows.append(measure("auto, at most 1 % lost", compressed, load_translator(compressed), corpus))
    console.print(table(rows, baseline=rows[1]))
    console.print(headline(rows[0], rows[1], rows[-1]), markup=False)
    console.print(sample(compressed, corpus), markup=False)
    return rows


def train(output: Path, corpus: Path, *, seed: int) -> None:
    """``python -m recipes fit`` with the demo's configuration."""
    with as_file(files("recipes") / "configs" / "demo.yaml") as config:
        arguments = {
            "config": config,
            "seed_everything": seed,
            "data.folder": corpus,
            "checkpoint.dirpath": output / "checkpoints",
            "checkpoint.enable_version_counter": "false",
            "trainer.logger.save_dir": output,
        }
        run_trainer(["fit", *(f"--{name}={value}" for name, value in arguments.items())])


def with_weights(module: Translation, path: Path) -> Translation:
    """``module`` with the tensors of a plain safetensors file in it."""
    module.load_state_dict(load_file(path))
    return module


def measure(name: str, path: Path, module: Translation, corpus: Path) -> Row:
    """BLEU on the test text of a module that was read back from ``path``."""
    source, references = read_parallel(corpus / "test.en", corpus / "test.de")
    bleu = Bleu(tokenize="none")
    bleu.add(module.translate(source), references)
    return Row(name, path, path.stat().st_size, float(bleu.compute()))


def table(rows: list[Row], *, baseline: Row) -> Table:
    """The files beside each other; ratios are over ``baseline``."""
    out = Table(title="Bytes on disk, and BLEU of the file read back")
    for heading in ("file", "bytes", "ratio", "BLEU"):
        out.add_column(heading, justify="left" if heading == "file" else "right")
    for row in rows:
        out.add_row(row.name, f"{row.size:,}", f"{baseline.size / row.size:.2f}×", f"{row.bleu:.2f}")
    return out


def headline(checkpoint: Row, plain: Row, found: Row) -> str:
    """The file of the search beside the checkpoint and the weights, in one sentence."""
    return (
        f"{found.path} is {plain.size / found.size:.1f}× smaller than the weights in fp32, "
        f"{checkpoint.size / found.size:.0f}× smaller than the checkpoint; BLEU on unseen text "
        f"{plain.bleu:.1f} → {found.bleu:.1f}"
    )


def sample(path: Path, corpus: Path) -> str:
    """One test sentence and its translation by a compressed file alone."""
    line = read_lines(corpus / "test.en")[0]
    (translation,) = load_translator(path).translate([line])
    return f"{path} translates\n  {line}\n  {translation}"
