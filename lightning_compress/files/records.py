"""Text records that callbacks write beside checkpoints."""

from __future__ import annotations

from collections.abc import Callable

from lightning_compress.files.paths import make_parent_folder
from lightning_compress.files.storage import replace_file


def write_record(path: str, text: str, is_ours: Callable[[str], bool]) -> None:
    """Write a text record, which may replace an older record but no other file.

    Args:
        path: local path or URL; a local folder is created.
        text: the content.
        is_ours: path → whether the file there is an older record.

    Raises:
        ForeignFileError: the path is taken by a file of another program.
        OSError: the file cannot be written.
    """
    make_parent_folder(path)
    replace_file(path, [text.encode()], lambda _: None, is_ours)
