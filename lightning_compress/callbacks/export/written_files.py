"""The companion files of a callback: what is said about each, and which are there."""

from __future__ import annotations

from lightning_compress.archive import Archive
from lightning_compress.callbacks.export.jobs import Export, ExportJob, LinkJob, Outcome
from lightning_compress.files import exists, normalized_path


class WrittenFiles:
    """The files that were written or linked and are still there, the newest last."""

    def __init__(self) -> None:
        self._checkpoints: dict[str, str] = {}  # companion file → its checkpoint; empty for a link
        self._best: frozenset[str] = frozenset()

    def note(self, outcome: Outcome) -> None:
        """Include the file of a job that has succeeded."""
        job = outcome.job
        if isinstance(job, ExportJob):
            self._best = job.best
        if outcome.error is None and isinstance(job, (ExportJob, LinkJob)):
            self._checkpoints.pop(job.target, None)
            self._checkpoints[job.target] = job.checkpoint if isinstance(job, ExportJob) else ""

    @property
    def paths(self) -> tuple[str, ...]:
        """Their paths."""
        return tuple(filter(exists, self._checkpoints))

    @property
    def best(self) -> str:
        """The newest file of a checkpoint that a ``ModelCheckpoint`` calls best; empty if there is none."""
        of_best = [path for path in self.paths if normalized_path(self._checkpoints[path]) in self._best]
        return of_best[-1] if of_best else ""

    @property
    def last(self) -> str:
        """The file that was written or linked last; empty if there is none."""
        return self.paths[-1] if self.paths else ""


def described(path: str, export: Export) -> str:
    """One line about a companion file that was written.

    Args:
        path: of the file.
        export: its content, and how long it took.
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    report = export.archive.report()
    size = f"{_bytes(report.file_bytes)} ({report.ratio:.1f}×, {report.bits_per_weight:.1f} bits per weight)"
    return f"{name} → {', '.join([size, *_change(export.archive), f'{export.seconds:.1f} s'])}"


def _change(archive: Archive) -> list[str]:
    """How much the metric of a search has changed, if it was measured: a loss that is worse has risen."""
    search = archive.manifest.metrics.get("search", {})
    if "drop" not in search:
        return []
    change = search["drop"] if search.get("mode") == "min" else -search["drop"]
    sign = "±" if not change else "+" if change > 0 else "−"
    return [f"{search.get('measure', 'score')} {sign}{abs(change):.2g}"]


def _bytes(count: int) -> str:
    """A number of bytes in the largest decimal unit of which it has at least one.

    >>> _bytes(2_140_000)
    '2.1 MB'
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
