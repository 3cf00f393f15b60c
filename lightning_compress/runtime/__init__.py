"""The running process: random state, threads, module snapshots, memory, cost of work, compilation, Zstandard."""

from lightning_compress.runtime.memory import empty
from lightning_compress.runtime.random_state import preserved_random_state, snapshot_random_state
from lightning_compress.runtime.snapshot import ModuleSnapshot, TensorCopies, preserved_module
from lightning_compress.runtime.threads import one_thread
from lightning_compress.runtime.work import Work
from lightning_compress.runtime.workers import beside, in_order, limited_workers, worker_count, workers_in_little_memory
from lightning_compress.runtime.zstandard_frames import LARGEST_WINDOW, FrameError, compressed, decompressed

__all__ = [
    "LARGEST_WINDOW",
    "FrameError",
    "ModuleSnapshot",
    "TensorCopies",
    "Work",
    "beside",
    "compressed",
    "decompressed",
    "empty",
    "in_order",
    "limited_workers",
    "one_thread",
    "preserved_module",
    "preserved_random_state",
    "snapshot_random_state",
    "worker_count",
    "workers_in_little_memory",
]
