"""Exact, compressed checkpoints that a training resumes from: everything in them, bit for bit, and no code.

Weights, states of optimizers and all else that a checkpoint holds are stored without loss in a file of this package's
format. A file may hold differences to an earlier one of the same run. Reading one needs neither Lightning nor a plan.
"""

from lightning_compress.resumable.chain import remove_file, set_aside
from lightning_compress.resumable.file import is_resumable, read_file, write_file

__all__ = ["is_resumable", "read_file", "remove_file", "set_aside", "write_file"]
