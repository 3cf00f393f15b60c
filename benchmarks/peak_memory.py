"""The resident memory of this process at its peak; needs Linux."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def peak(work: Callable[[], object]) -> int:
    """Bytes of resident memory at the peak of some work, those before it included."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    work()
    return memory("VmHWM")


def beyond(work: Callable[[], object]) -> int:
    """Bytes of resident memory at the peak of some work, less those before it."""
    before = memory("VmRSS")
    return peak(work) - before


def memory(key: str) -> int:
    """Bytes that ``/proc/self/status`` gives, such as ``VmRSS``, or ``VmHWM`` for the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))
