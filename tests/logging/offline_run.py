"""Reads the ``.wandb`` file that wandb writes for an offline run.

The file has a header of 7 bytes and then frames as LevelDB's log has them, in blocks of 32 KiB: checksum (4 bytes),
length (2), type (1: whole, 2, 3, 4: first, middle and last part), content. Each content is a ``Record`` as a protocol
buffer.
"""

from __future__ import annotations

import json
from pathlib import Path

BLOCK, HEADER, FRAME = 32768, 7, 7


def records(folder: Path) -> list:
    """Every record of the one run in a folder."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("*.wandb")
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    found, parts, place = [], [], HEADER
    while place + FRAME <= len(data):
        left = BLOCK - place % BLOCK
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if left < FRAME or kind == 0:
            place += left
            continue
        parts.append(data[place + FRAME : place + FRAME + length])
        place += FRAME + length
        if kind in (1, 4):
            found.append(wandb_internal_pb2.Record.FromString(b"".join(parts)))
            parts = []
    assert not parts
    return found


def of_kind(found: list, kind: str) -> list:
    """The content of each record of one kind, such as ``history``."""
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def values(items) -> dict:
    """Keys and values of a configuration or of one step of the history."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
