"""Files and folders, local or remote: reading, atomic replacement, temporary files, listing."""

from lightning_compress.files.companion_names import checkpoints_of, companion_of, is_companion_name
from lightning_compress.files.paths import (
    entry_of,
    exists,
    file_size,
    is_inside,
    is_remote,
    is_written_after,
    list_folder,
    local_path,
    make_parent_folder,
    modification_time,
    normalized_path,
)
from lightning_compress.files.reading import open_file, read_bytes, read_into, read_prefix
from lightning_compress.files.records import write_record
from lightning_compress.files.source import ChangedFileError, Source, SourcePart
from lightning_compress.files.storage import check_replaceable, replace_file
from lightning_compress.files.temporary import (
    flush_to_disk,
    is_temporary_name,
    remove_left_over,
    remove_left_overs_of,
    replace_by_link,
    replacement,
)

__all__ = [
    "ChangedFileError",
    "Source",
    "SourcePart",
    "check_replaceable",
    "checkpoints_of",
    "companion_of",
    "entry_of",
    "exists",
    "file_size",
    "flush_to_disk",
    "is_companion_name",
    "is_inside",
    "is_remote",
    "is_temporary_name",
    "is_written_after",
    "list_folder",
    "local_path",
    "make_parent_folder",
    "modification_time",
    "normalized_path",
    "open_file",
    "read_bytes",
    "read_into",
    "read_prefix",
    "remove_left_over",
    "remove_left_overs_of",
    "replace_by_link",
    "replace_file",
    "replacement",
    "write_record",
]
