"""State of the running process: random state, threads, module snapshots, and progress bars (in ``progress``)."""

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
