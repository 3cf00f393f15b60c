"""Creates missing companion files and deletes orphaned ones: after a crash, or a training without the callback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path

from lightning_compress import files
from lightning_compress.archive import Archive, Manifest, is_archive
from lightning_compress.callbacks.arguments import check_classes, check_path, check_texts
from lightning_compress.callbacks.export.companions import companion_files
from lightning_compress.callbacks.export.companions.staleness import is_checkpoint, is_current, linked_companion
from lightning_compress.compression import compress, read_weights, with_reasons_of
from lightning_compress.errors import CompressionError
from lightning_compress.files.companion_names import SUFFIX, checkpoints_of, companion_of, is_companion_name
from lightning_compress.plan import DEFAULT_PLAN, Plan
from lightning_compress.weights import Weights


@dataclass(frozen=True)
class Reconciled:
    """What :func:`reconcile` did.

    Attributes:
        created: compressed files written or linked.
        deleted: compressed files whose checkpoint is gone.
        failed: checkpoint or file → why nothing could be done for it.
    """

    created: tuple[str, ...]
    deleted: tuple[str, ...]
    failed: Mapping[str, str]


def reconcile(
    folder: str | PathLike[str],
    plan: Plan | str | PathLike[str] = DEFAULT_PLAN,
    *,
    classes: Mapping[str, str | Sequence[str]] | None = None,
    exclude: Sequence[str] = (),
) -> Reconciled:
    """Give every checkpoint in a folder its compressed file, and delete those whose checkpoint is gone.

    A companion file that holds other weights than its checkpoint is written again; the weights are compared unless the
    companion file is certainly newer. A linked checkpoint gets a link. Temporary files that killed processes left are
    deleted. Files of other programs, sub-folders and the tuners' temporary checkpoints are left alone. Without the
    module, classes are recognized by names alone, constants by names, by values and by the other compressed files of
    the model in the folder, and no assets are attached. Do not use it on a folder that a training is writing to.

    Args:
        folder: folder or fsspec URL.
        plan: how to compress what is missing: a plan, the name of a preset or the path of a YAML file.
        classes: class name → patterns, over the derived classes.
        exclude: patterns of tensors to leave out.

    Returns:
        What was created, deleted, and what failed; one failure does not keep the others from being done.

    Raises:
        CallbackError: an argument is wrong.
        PlanError: the plan is wrong in itself.
        OSError: the folder cannot be listed.
    """
    check_path("folder", folder)
    check_classes(classes)
    check_texts("exclude", exclude, "patterns of tensor names such as ['teacher.*']")
    plan = Plan.resolve(plan)
    names = files.list_folder(fspath(folder))
    failed: dict[str, str] = {}
    # A link is made after the file it leads to, and deleted before it.
    files_first = sorted(names, key=lambda path: (Path(path).is_symlink(), path))
    others = [path for path in names if is_companion_name(path)]
    supply = partial(_supply, plan=plan, classes=classes, exclude=exclude, others=others)
    supplied = [path for path in files_first if is_checkpoint(path) and _succeeds(supply, path, failed)]
    left_over = [path for path in reversed(files_first) if _is_orphan(path) or _is_temporary(path)]
    deleted = sorted(path for path in left_over if _succeeds(_delete, path, failed))
    return Reconciled(tuple(map(companion_of, supplied)), tuple(deleted), failed)


def _succeeds(work: Callable[[str], bool], path: str, failed: dict[str, str]) -> bool:
    try:
        return work(path)
    except (CompressionError, OSError) as error:
        failed[path] = str(error)
        return False


def _supply(
    checkpoint: str,
    plan: Plan,
    classes: Mapping[str, str | Sequence[str]] | None,
    exclude: Sequence[str],
    others: Sequence[str],
) -> bool:
    """Give one checkpoint its compressed file or link, and say whether it lacked one."""
    companion = companion_of(checkpoint)
    if is_current(checkpoint):
        return False
    linked = linked_companion(checkpoint)
    if linked and is_archive(linked):
        companion_files.link(linked, companion)
    else:
        weights = read_weights(checkpoint, classes=classes, exclude=exclude)
        known = _manifest_of_the_same_model(weights, [companion_files.find(companion), *others])
        compress(weights if known is None else with_reasons_of(weights, known), plan).save(companion)
        companion_files.discard_earlier(companion)
    return True


def _manifest_of_the_same_model(weights: Weights, paths: Iterable[str]) -> Manifest | None:
    """The manifest of the first companion file with tensors of these names and shapes; None if there is none.

    It may have been written with the module at hand, which tells buffers from weights.
    """
    shapes = {weight.name: tuple(weight.tensor.shape) for weight in weights}
    for path in filter(is_archive, paths):
        with suppress(CompressionError):  # a damaged file tells nothing
            manifest = Archive.open(path).manifest
            stored = {name: shape for name, shape in shapes.items() if name not in manifest.excluded}
            if stored == {entry.name: entry.shape for entry in manifest.entries}:
                return manifest
    return None


def _is_orphan(path: str) -> bool:
    """Whether it is named like a compressed file without a checkpoint, or another one has taken its place."""
    if not is_companion_name(path):
        return False
    present = [checkpoint for checkpoint in checkpoints_of(path) if files.exists(checkpoint)]
    is_of_earlier_name = not path.endswith(SUFFIX)
    return not present or (is_of_earlier_name and is_archive(companion_of(present[0])))


def _is_temporary(path: str) -> bool:
    return not files.is_remote(path) and files.is_temporary_name(files.local_path(path).name)


def _delete(path: str) -> bool:
    """Delete an orphan, or the temporary file of a writer that is gone; say whether it was one."""
    return files.remove_left_over(files.local_path(path)) if _is_temporary(path) else companion_files.discard(path)
