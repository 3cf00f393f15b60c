"""Results of a harness as JSON: what was measured, with seed, commit, date and machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "numba", "pytorch-lightning", "constriction")


def header(**settings: Any) -> dict[str, Any]:
    """The settings of a run, and where and when it took place."""
    return {"settings": settings, "commit": commit(), "date": _now(), "machine": _machine(), "rows": []}


def load(path: Path | None, **settings: Any) -> dict[str, Any]:
    """Results that an earlier run of the same settings has written, or the header of new ones.

    Raises:
        SystemExit: the file holds results of other settings.
    """
    if path is None or not path.exists():
        return header(**settings)
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if results["settings"] != settings:
        raise SystemExit(f"{path} holds results of {results['settings']}, expected {settings}: name another file")
    return results


def save(path: Path | None, results: dict[str, Any]) -> None:
    """Write results; a run that is stopped keeps what it has measured."""
    if path is not None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(results | {"date": _now()}, indent=1), encoding="utf-8")
        part.replace(path)


def commit() -> str:
    """The commit of the code, marked with ``-dirty`` if files differ from it; empty outside of a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    root = Path(__file__).parent
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _machine() -> dict[str, Any]:
    packages = {name: version(name) for name in PACKAGES}
    return {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version(), **packages}
