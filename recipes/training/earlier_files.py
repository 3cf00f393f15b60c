"""Files that an earlier training left in the folder of a new one."""

from __future__ import annotations

from itertools import count
from pathlib import Path

SUFFIXES = frozenset({".ckpt", ".safetensors"})  # of checkpoints and their companion files
RECORDS = ("sensitivity.json", "translations.json")
REPORT = "report.html"  # of a folder; that of a file ends in .report.html


def set_aside(folder: Path) -> Path | None:
    """Move the checkpoints, compressed files, measurements and reports of a folder into a subfolder ``earlier-N``.

    So ``best`` is never the model of an earlier training, and nothing is lost.

    Returns:
        The subfolder; None if there was nothing to move.
    """
    files = [path for path in folder.glob("*") if _is_result(path)] if folder.is_dir() else []
    if not files:
        return None
    earlier = next(path for path in (folder / f"earlier-{number}" for number in count(1)) if not path.exists())
    earlier.mkdir()
    for path in sorted(files):
        path.rename(earlier / path.name)
    return earlier


def _is_result(path: Path) -> bool:
    is_file = path.is_symlink() or path.is_file()
    is_report = f".{path.name}".endswith(f".{REPORT}")
    return is_file and (path.suffix in SUFFIXES or path.name in RECORDS or is_report)
