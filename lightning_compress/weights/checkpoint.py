"""Reads checkpoints without running any code that they name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import fsspec
import torch

from lightning_compress.errors import WeightsError
from lightning_compress.files import open_file

_ZIP = b"PK\x03\x04"
_CODE = re.compile(r"GLOBAL (\S+)")


def read_checkpoint(path: str) -> Mapping[str, Any]:
    """The content of a file that ``torch.save`` wrote; tensors are memory-mapped if the file allows it.

    Args:
        path: a local path, or a URL that fsspec opens.

    Raises:
        WeightsError: the file is missing, a directory, damaged, not a checkpoint, not a mapping, or names code.
    """
    try:
        content = _read(path)
    except IsADirectoryError as error:
        raise WeightsError(
            f"{path} is a directory: a sharded checkpoint. Consolidate it into one file first "
            "(python -m lightning.pytorch.utilities.consolidate_checkpoint)."
        ) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise any exception
        raise WeightsError(_why(path, str(error))) from error
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds one {type(content).__name__}, expected a Lightning checkpoint or a state dict: "
            "save model.state_dict()"
        )
    return content


def _read(path: str) -> object:
    if "://" in path:
        with fsspec.open(path, "rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    with open_file(path) as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    # Files of torch before 1.6 are not zip files and cannot be memory-mapped.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def _why(path: str, message: str) -> str:
    code = _CODE.search(message)
    if code is None:
        reason = next((line for line in message.splitlines() if not line.startswith("Weights only")), "it ends early")
        return f"{path} cannot be read as a checkpoint: it is damaged, or of another kind ({reason.strip()[:160]})"
    name = code.group(1)
    return (
        f"{path} names {name}, and is not read, because that would run code. If you trust it, allow the name with "
        f"torch.serialization.add_safe_globals([{name}]), or load the file yourself and give its state dict."
    )
