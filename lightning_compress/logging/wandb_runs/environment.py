"""The software environment of a training run."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from importlib import metadata

_PACKAGES = ("torch", "pytorch-lightning", "lightning", "lightning-compress")


def environment() -> dict[str, str]:
    """Versions of Python, of the platform and of the packages that a file depends on, and the git commit of the code.

    ``git_commit`` is the commit of the working directory; without one the key is left out.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    commit = git_commit()
    return {**found, "git_commit": commit} if commit else found


def git_commit() -> str | None:
    """The commit that is checked out in the working directory; None outside a repository, or without git."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
