"""Files and folders, local or remote: reading, atomic replacement, listing."""

from lightning_compress.files.paths import (
    exists,
    is_inside,
    list_folder,
    make_parent_folder,
    modification_time,
    normalized_path,
)
from lightning_compress.files.records import write_record
from lightning_compress.files.storage import (
    PARTIAL,
    atomic_path,
    check_replaceable,
    is_remote,
    local_path,
    read_bytes,
    read_prefix,
    replace_file,
)

__all__ = [
    "PARTIAL",
    "atomic_path",
    "check_replaceable",
    "exists",
    "is_inside",
    "is_remote",
    "list_folder",
    "local_path",
    "make_parent_folder",
    "modification_time",
    "normalized_path",
    "read_bytes",
    "read_prefix",
    "replace_file",
    "write_record",
]
