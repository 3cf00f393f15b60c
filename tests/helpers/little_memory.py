"""Files verified by a process that may not take much more memory than it has; call it in a process of its own."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from lightning_compress.archive import Archive
from lightning_compress.errors import CompressionError


def verify_in_little_memory(folder: Path) -> dict[str, tuple[str, float]]:
    """File name → the error that its verification ends in, or "read", and the CPU seconds that it takes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    found = {}
    for path in sorted(folder.iterdir()):
        start = time.process_time()
        try:
            Archive.open(path).verify()
            outcome = "read"
        except CompressionError as error:
            outcome = type(error).__name__
        found[path.name] = (outcome, time.process_time() - start)
    return found
