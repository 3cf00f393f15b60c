"""What a run was made with, for its record."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from importlib import metadata

_PACKAGES = ("torch", "pytorch-lightning", "lightning", "lightning-compress")


def environment() -> dict[str, str]:
    """Versions of Python and of the packages that decide about a file, the platform, and the commit of the code.

    The commit (``git_commit``) is that of the working directory; it is left out where there is none.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    commit = git_commit()
    return {**found, "git_commit": commit} if commit else found


def git_commit() -> str | None:
    """The commit that the working directory is at; None outside a repository, or without git."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
