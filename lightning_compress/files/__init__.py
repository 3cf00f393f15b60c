"""Files and folders, local or behind a URL: read, replaced atomically, listed."""

from lightning_compress.files.paths import exists, is_inside, listing, make_folder_of, modified, same_place
from lightning_compress.files.records import write_record
from lightning_compress.files.storage import (
    PARTIAL,
    becoming,
    is_remote,
    local_path,
    read_bytes,
    read_start,
    refuse_foreign,
    replace_file,
)

__all__ = [
    "PARTIAL",
    "becoming",
    "exists",
    "is_inside",
    "is_remote",
    "listing",
    "local_path",
    "make_folder_of",
    "modified",
    "read_bytes",
    "read_start",
    "refuse_foreign",
    "replace_file",
    "same_place",
    "write_record",
]
