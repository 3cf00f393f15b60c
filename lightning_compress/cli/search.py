"""The commands that search: ``tune`` and ``retarget``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from lightning_compress.archive import Archive
from lightning_compress.cli.imports import import_by_path
from lightning_compress.cli.options import Checkpoint, File, Json, Key, Output, output_path
from lightning_compress.cli.output import print_archive, progress, save
from lightning_compress.compression import read_weights
from lightning_compress.loading import StoredModule, build
from lightning_compress.search import ASSURED, smallest
from lightning_compress.search import retarget as retarget_file
from lightning_compress.search.max_drop import MaxDrop
from lightning_compress.weights import CheckpointRecord, Weights

_INTERRUPTED = 130  # exit status of a command that Ctrl-C ends


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
    assured: Annotated[
        float,
        typer.Option(help="Probability, 0.5 to below 1, that the file loses at most --max-drop on other data, too."),
    ] = ASSURED,
    confirm: Annotated[
        str | None,
        typer.Option(
            help="package.module:name of a function that scores other items, on which the file is tested; 'no': test "
            "nothing. By default a third of the items is set apart where there are 2,000 or more and they can tell.",
            show_default=False,
        ),
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
    other = _confirmation(confirm)
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
        allowed,
        max_bytes=max_bytes,
        assured=assured,
        confirm=other,
        calibration=data,
        effort=effort,
        progress=not as_json,
        weights=weights,
    )
    save(archive, out, as_json)
    print_archive(out, archive, as_json, rows=archive.report().by_class())
    if archive.manifest.metrics["search"].get("interrupted") == KeyboardInterrupt.__name__:
        raise typer.Exit(_INTERRUPTED)


def _allowed_drop(max_drop: str | None, evaluate: str, max_bytes: int | None) -> MaxDrop | None:
    """The drop that is given, else that of the metric; None with a size limit, which needs none."""
    if max_drop is not None:
        return MaxDrop.from_text(max_drop)
    return None if max_bytes is not None else MaxDrop.of_metric(evaluate.rpartition(":")[2])


def _confirmation(confirm: str | None) -> Callable[[Any], Any] | bool:
    """What is given: a function to import, or nothing to test; by default items are set apart where there are many."""
    if confirm is None or confirm == "no":
        return confirm is None
    function: Callable[[Any], Any] = import_by_path("--confirm", confirm)
    return function


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
