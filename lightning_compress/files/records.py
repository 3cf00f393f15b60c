"""Small records that callbacks write beside checkpoints."""

from __future__ import annotations

from collections.abc import Callable

from lightning_compress.files.paths import make_folder_of
from lightning_compress.files.storage import replace_file


def write_record(path: str, text: str, is_ours: Callable[[str], bool]) -> None:
    """Write what was measured beside the checkpoints, in place of an older record alone.

    Args:
        path: local path or URL; its folder is made.
        text: the content.
        is_ours: whether a file is an older record.

    Raises:
        ForeignFileError: another program's file has the name.
        OSError: it cannot be written.
    """
    make_folder_of(path)
    replace_file(path, [text.encode()], lambda _: None, is_ours)
