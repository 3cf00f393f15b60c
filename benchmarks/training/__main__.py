"""Retrain a trained translation model under compression, and measure the file that comes out.

    python -m benchmarks.training rate --models DIR --kind rnn --ratio 27 --steps 400 --output FILE
    python -m benchmarks.training prune --models DIR --kind rnn --amount 0.8 --steps 400 --output FILE
    python -m benchmarks.training ternary --models DIR --kind transformer --steps 1200 --output FILE
    python -m benchmarks.training plain --models DIR --kind transformer --width 152 --steps 6000 --output FILE
    python -m benchmarks.training rate --models DIR --kind transformer --width 152 --start FILE --output FILE
    python -m benchmarks.training plain --models DIR --kind rnn --ranks 2 --steps 400 --latent FILE --output FILE
    python -m benchmarks.training rate --models DIR --kind rnn --ranks 2 --start FILE --ratio 27 --output FILE
    python -m benchmarks.training score --models DIR --kind rnn --file FILE --split test
    python -m benchmarks.training cost --models DIR --kind rnn --sentences 64

DIR holds ``yardstick.py`` as for ``benchmarks/yardstick.py``; its class has ``model``, ``batches(sentences, size)``
of training text, and ``loss``. BLEU is that of the file read back. ``score`` compares it with the exact weights by a
paired bootstrap over sentences (P. Koehn 2004). Comparisons in ``--results`` become a picture: ``python -m
benchmarks.training.picture CSV PICTURE``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import lightning_compress as lc
from benchmarks.training.cost import cost
from benchmarks.training.methods import METHODS, TrainingText
from benchmarks.training.retraining import Settings, retrain
from benchmarks.training.scoring import append, compare
from benchmarks.training.students import with_student
from benchmarks.yardstick import yardstick_class
from lightning_compress.training import exact_bytes, factorize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=[*METHODS, "score", "cost"])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--kind", required=True, choices=["transformer", "rnn"])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--file", type=Path, help="score: the file to compare with the exact weights")
    parser.add_argument("--split", default="val")
    parser.add_argument("--results", type=Path, help="CSV file to which the comparison is added")
    parser.add_argument("--name", help="of the method, in the CSV file")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--sentences", type=int, default=32, help="of a batch")
    parser.add_argument("--share", type=float, default=0.7, help="of the distillation in the loss")
    parser.add_argument("--ratio", type=float, default=20.0, help="rate: bytes of the exact model over the file's")
    parser.add_argument(
        "--steps-of", default="rows", choices=["rows", "model"], help="rate: what has a step of its own"
    )
    parser.add_argument("--headroom", type=float, default=1.02, help="rate: bytes before the training over the target")
    parser.add_argument(
        "--feeds-back", action=argparse.BooleanOptionalAction, default=True, help="rate: begin with errors fed back"
    )
    parser.add_argument("--rate-weight", type=float, default=0.1, help="rate: nats for one bit a weight, at first")
    parser.add_argument("--ramp", type=float, default=0.25, help="rate: share of the steps until the ratio is met")
    parser.add_argument("--measure-every", type=int, default=25, help="rate: steps")
    parser.add_argument("--amount", type=float, default=0.8, help="prune: share of the weights")
    parser.add_argument("--width", type=int, help="of a student, in place of the model itself")
    parser.add_argument("--layers", type=int, help="of a student")
    parser.add_argument("--start", type=Path, help="weights to train on, of a file of this package")
    parser.add_argument("--latent", type=Path, help="where to write the exact weights of the training, for --start")
    parser.add_argument("--source-noise", type=float, default=0.0, help="share of source words that others replace")
    parser.add_argument("--dropout", type=float, default=0.0, help="of outputs of LSTMs and whole embeddings")
    parser.add_argument("--ranks", type=float, help="begin with factors, of so many times fewer weights")
    parser.add_argument(
        "--calibrated", action=argparse.BooleanOptionalAction, default=True, help="ranks by sensitivity"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make = yardstick_class(options.models)

    def model() -> Any:
        yardstick = make(options.kind)
        return with_student(yardstick, options.width, options.layers) if options.width else yardstick

    def measure(path: Path) -> None:
        name = options.name or options.method
        comparison = compare(make(options.kind), model(), path, options.split, options.kind, name)
        print(comparison)
        if options.results is not None:
            append(options.results, comparison)

    if options.method == "score":
        measure(options.file)
        return
    if options.method == "cost":
        print(cost(options.models, options.kind, options.sentences, options.ratio))
        return
    torch.manual_seed(options.seed)
    settings = Settings(
        options.steps,
        options.learning_rate,
        options.sentences,
        options.share,
        options.source_noise,
        options.dropout,
        options.seed,
    )
    yardstick = model()
    options.exact_bytes = exact_bytes(lc.Weights.from_module(make(options.kind).model))
    if options.ranks:
        factorize(
            yardstick.model,
            target_ratio=options.ranks,
            calibration=TrainingText(yardstick) if options.calibrated else None,
        )
    if options.start is not None:
        yardstick.model.load_state_dict(lc.load(options.start))
    method = METHODS[options.method](yardstick, options)
    retrain(yardstick, make(options.kind).model, method, settings)
    if options.latent is not None:
        lc.compress(yardstick.model, lc.Plan(lc.Rule("*", lc.Raw()))).save(options.latent)
    method.save(options.output)
    measure(options.output)


if __name__ == "__main__":
    main()
