"""Recognizes files that are not checkpoints, by their first bytes, and says in one sentence what to do with them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_compress.errors import WeightsError

ZIP = b"PK\x03\x04"
PREFIX_BYTES = 512

_SAVE = "save the tensors with torch.save or safetensors"
_BEGINNINGS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run git lfs pull"),
    (b"\x1f\x8b", "is compressed with gzip: decompress it first (gunzip)"),
    (b"BZh", "is compressed with bzip2: decompress it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "is compressed with xz: decompress it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "is compressed with Zstandard: decompress it first (unzstd)"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, such as Keras writes: read its arrays with h5py and {_SAVE}"),
    (b"\x93NUMPY", f"is one NumPy array: read it with numpy.load and {_SAVE}"),
    (b"GGUF", f"is a GGUF file, already quantized for llama.cpp: {_SAVE} of the original model"),
)
_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml|head|body)", re.IGNORECASE)
_ONNX = re.compile(rb"\x08[\x01-\x20](\x12|:|B|\x1a|\")")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
# The magic number of torch before 1.6; pickle protocols from 4 on put a frame of 8 bytes before it.
_LEGACY = re.compile(rb"\x80.(\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\.", re.DOTALL)


def foreign_file(prefix: bytes, path: str) -> str | None:
    """What a file is instead of a checkpoint, and what to do: a sentence without its subject. None if unknown.

    Args:
        prefix: the first PREFIX_BYTES bytes.
        path: the path of the file.
    """
    if not prefix:
        return "is empty: writing or downloading it failed"
    for beginning, sentence in _BEGINNINGS:
        if prefix.startswith(beginning):
            return sentence
    if _PAGE.match(prefix):
        return "is a web page or XML text: the download failed, so download the file itself"
    if prefix[257:262] == b"ustar":
        return "is a tar archive: unpack it, and give the checkpoint in it"
    if _ONNX.match(prefix) and (path.endswith(".onnx") or b"onnx" in prefix or b"pytorch" in prefix):
        return f"is an ONNX model: read its initializers with onnx and {_SAVE}"
    if _PICKLE.match(prefix) and not _LEGACY.match(prefix):
        return (
            "is a pickle that torch.save did not write, and is not read: load it yourself and write it with torch.save"
        )
    return None


def foreign_zip(names: Iterable[str]) -> str | None:
    """As :func:`foreign_file`, for the names in a zip archive; None if ``torch.save`` may have written it."""
    names = list(names)
    parts = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in parts:
        return "is a TorchScript archive: save torch.jit.load(path).state_dict() with torch.save, and give that file"
    if names and all(name.endswith(".npy") for name in names):
        return f"is a NumPy archive (.npz): read its arrays with numpy.load and {_SAVE}"
    if "model.weights.h5" in parts:
        return f"is a Keras model: read its weights with Keras and {_SAVE}"
    if parts & {"serialized_exported_program.json", "archive_format"}:
        return "is an exported program of torch.export: save torch.export.load(path).state_dict with torch.save"
    if "data.pkl" not in parts:
        return "cannot be read as a checkpoint: it is damaged, or of another kind (a zip archive without data.pkl)"
    return None


def foreign_folder(folder: Path) -> str:
    """What a folder that holds no checkpoint is, and what to do: a sentence without its subject."""
    names = {path.name for path in folder.iterdir()}
    if any(name.endswith(".distcp") for name in names):
        return (
            "holds pieces (*.distcp) but no .metadata, which torch.distributed.checkpoint writes last: the save was "
            "interrupted, or the copy is not complete"
        )
    if names & {"zero_to_fp32.py", "latest"} or (folder / "checkpoint").is_dir():
        return "is a checkpoint of DeepSpeed: turn it into one file with its zero_to_fp32.py, and give that file"
    return (
        "is a directory without a checkpoint: expected .metadata of torch.distributed.checkpoint, model.safetensors or "
        "an index of shards (*.index.json)"
    )


@contextmanager
def damage(subject: str) -> Iterator[None]:
    """Turn every error of reading into one of this package; that a file was changed or cut short stays an OSError.

    Args:
        subject: what is read, at the beginning of messages.

    Raises:
        WeightsError: with the subject and the reason.
    """
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{subject} {error}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise WeightsError(f"{subject} {damaged(error)}") from error


def damaged(error: Exception) -> str:
    """What an exception says of a file that is read: a sentence without its subject."""
    reason = re.sub(r"\s+", " ", str(error)).strip()[:160] or "it ends early"
    return f"cannot be read as a checkpoint: it is damaged, or of another kind ({reason})"
