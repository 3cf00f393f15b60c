"""Writes one companion file: equal weights in a row are compressed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lightning_compress import files
from lightning_compress.archive import Archive, is_archive
from lightning_compress.messages.progress import spinner
from lightning_compress.runtime import limited_workers
from lightning_compress.weights import Weights


@dataclass(frozen=True, eq=False)
class Written:
    """A companion file that was written.

    Attributes:
        archive: what it holds.
        is_new: whether no earlier file holds these weights.
    """

    archive: Archive
    is_new: bool


class CompanionWriter:
    """Compresses weights into companion files, and remembers the last one.

    Args:
        compress: weights → their archive.
    """

    def __init__(self, compress: Callable[[Weights], Archive]) -> None:
        self._compress = compress
        self._latest = ("", "")  # fingerprint of the weights written last, and their companion file

    def write(
        self,
        weights: Weights,
        target: str,
        *,
        shows_progress: bool = False,
        on_progress: Callable[[object], None] | None = None,
        on_verified: Callable[[], None] | None = None,
    ) -> Written:
        """Write the companion file of these weights.

        Args:
            weights: of the checkpoint.
            target: path of the companion file.
            shows_progress: whether a spinner is shown.
            on_progress: called after each tensor that is read back.
            on_verified: called before the file gets its name; if it raises, no file is left.
        """
        known = self.latest_archive(weights.fingerprint)
        files.make_parent_folder(target)
        with limited_workers(1):  # the other cores belong to the training
            with spinner(shows_progress and known is None, "compressing the checkpoint"):
                archive = self._compress(weights) if known is None else _with_record_of(known, weights)
            archive.save(target, on_tensor=on_progress, on_verified=on_verified)
        self.note_written(weights.fingerprint, target)
        return Written(archive, known is None)

    def note_written(self, fingerprint: str, target: str) -> None:
        """Remember a companion file as the one written last."""
        self._latest = (fingerprint, target)

    def latest_archive(self, fingerprint: str) -> Archive | None:
        """The companion file written last, if it holds these weights; ``save_last=True`` saves everything twice."""
        known, path = self._latest
        if known != fingerprint or not is_archive(path):
            return None
        archive = Archive.open(path)
        return archive if archive.manifest.fingerprint == fingerprint else None


def _with_record_of(archive: Archive, weights: Weights) -> Archive:
    """An archive of the same tensors with the hyper-parameters and checkpoint values of these weights."""
    record = {name: value for name, value in vars(weights.record).items() if name != "assets"}
    manifest = replace(archive.manifest, **record)
    return archive if manifest == archive.manifest else replace(archive, manifest=manifest, opened_bytes=None)
