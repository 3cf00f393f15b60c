"""State of the running process: random numbers, threads, snapshots of modules; progress bars in ``progress``."""

from lightning_compress.runtime.random_state import preserved_random_state, snapshot_random_state
from lightning_compress.runtime.snapshot import ModuleSnapshot, TensorCopies, preserved_module
from lightning_compress.runtime.threads import one_thread

__all__ = [
    "ModuleSnapshot",
    "TensorCopies",
    "one_thread",
    "preserved_module",
    "preserved_random_state",
    "snapshot_random_state",
]
