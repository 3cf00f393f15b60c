"""The commands that search: ``tune`` and ``retarget``."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from lightning_compress.archive import Archive
from lightning_compress.cli.imports import import_by_path
from lightning_compress.cli.output import (
    Checkpoint,
    File,
    Json,
    Key,
    Output,
    output_path,
    print_archive,
    progress,
    save,
)
from lightning_compress.compression.pipeline import read_weights
from lightning_compress.loading import StoredModule, build
from lightning_compress.search import retarget as retarget_file
from lightning_compress.search import smallest
from lightning_compress.search.max_drop import MaxDrop
from lightning_compress.weights import CheckpointRecord, Weights


def tune(
    checkpoint: Checkpoint,
    module: Annotated[
        str, typer.Option(help="package.module:name of the module's class, or of a function that creates the module.")
    ],
    evaluate: Annotated[str, typer.Option(help="package.module:name of a function: module → score, higher is better.")],
    max_drop: Annotated[
        str | None,
        typer.Option(
            help="The largest allowed drop of the score: a number in its unit, or a share such as 1%. Required, unless "
            "--max-bytes is given or the function has BLEU in its name (then 1%).",
            show_default=False,
        ),
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(help="A size limit instead: the best score in a file of at most these bytes.", show_default=False),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="package.module:name of an object with batches and loss(module, batch).", show_default=False),
    ] = None,
    output: Output = None,
    effort: Annotated[str, typer.Option(help="quick, default or thorough.")] = "default",
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of tensors to leave out; repeatable.")] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Search for the smallest file whose score is at most --max-drop below that of the checkpoint, and write it."""
    out = output_path(checkpoint, output)
    factory, score = import_by_path("--module", module), import_by_path("--evaluate", evaluate)
    allowed = _allowed_drop(max_drop, evaluate, max_bytes)
    data = None if calibration is None else import_by_path("--calibration", calibration, is_called=False)
    if isinstance(data, type) or (callable(data) and not hasattr(data, "loss")):
        data = data()
    read = read_weights(checkpoint, exclude=exclude or (), key=key)
    tensors = read.state_dict()
    built = build(factory, StoredModule.of_weights(read, str(checkpoint)))
    record = None if read.record == CheckpointRecord() else read.record  # a saved state dict has none
    weights = Weights.from_state_dict(tensors, module=built, record=record)
    archive = smallest(
        built,
        score,
        allowed.measured(built, score, weights),
        max_bytes=max_bytes,
        calibration=data,
        effort=effort,
        progress=not as_json,
        weights=weights,
    )
    if max_bytes is None:
        allowed.warn_if_large(float(archive.manifest.metrics["search"]["score_before"]))
    save(archive, out, as_json)
    print_archive(out, archive, as_json, rows=archive.report().by_class())


def _allowed_drop(max_drop: str | None, evaluate: str, max_bytes: int | None) -> MaxDrop:
    """The drop that is given, else that of the metric; with a size limit, it is without effect."""
    if max_drop is not None:
        return MaxDrop.from_text(max_drop)
    return MaxDrop(math.inf) if max_bytes is not None else MaxDrop.of_metric(evaluate.rpartition(":")[2])


def retarget(
    checkpoint: Checkpoint,
    file: File,
    max_bytes: Annotated[int, typer.Option(help="Largest size of the new file.", show_default=False)],
    output: Output = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Create another size of a tuned file by making its plan coarser or finer, without data or a search."""
    out = output_path(checkpoint, output)
    found = Archive.open(file)
    left_out = [name for name in found.manifest.excluded if not name.endswith("_extra_state")]
    weights = read_weights(checkpoint, exclude=left_out, key=key)
    with progress("searching the steps", None, as_json):
        archive = retarget_file(weights, found, max_bytes)
    save(archive, out, as_json)
    print_archive(out, archive, as_json, rows=archive.report().by_class())
