"""Exact, compressed checkpoints that a training resumes from: everything in them, bit for bit, and no code.

Weights, states of optimizers and all else that a checkpoint holds are stored without loss in a file of this package's
format. A file may hold differences to an earlier one of the same run. Reading one needs neither Lightning nor a plan.
"""

from lightning_compress.resumable.chain import remove_file, remove_unused, set_aside
from lightning_compress.resumable.file import read_file, write_file
from lightning_compress.resumable.opened_file import ResumableFile, is_resumable

__all__ = ["ResumableFile", "is_resumable", "read_file", "remove_file", "remove_unused", "set_aside", "write_file"]
