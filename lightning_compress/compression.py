"""Weights and a plan → an archive, one tensor at a time; and back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from os import PathLike, fspath
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from lightning_compress.archive import Archive, Asset, Entry, Manifest, encode_asset, is_archive
from lightning_compress.archive.storage import becoming
from lightning_compress.errors import ForeignFileError, WeightsError
from lightning_compress.payloads import CodedTensor, CodedTensors, fewest_bytes
from lightning_compress.plan import Plan
from lightning_compress.quantize import Payload
from lightning_compress.weights import Weight, Weights, one_thread

Source = Weights | Mapping[str, Tensor] | nn.Module | str | PathLike[str]


def compress(
    source: Source,
    plan: Plan | str | PathLike[str],
    *,
    guidance: Mapping[str, object] | None = None,
    on_tensor: Callable[[Weight], None] | None = None,
    known: CodedTensors | None = None,
) -> Archive:
    """Compress a model in memory.

    Memory beyond the weights is a few times the largest tensor, and the archive itself.

    Args:
        source: weights, a state dict, a module, or the path of a checkpoint.
        plan: a plan, the name of a preset, or the path of a YAML file.
        guidance: name of a stored tensor → what calibration measured for it, for the quantizers that use it; tensors
            without are treated by their weights alone.
        on_tensor: called after each tensor, for progress.
        known: tensors of this model as they were coded before, with this guidance; it learns of those that are new.

    Raises:
        WeightsError: the source cannot be taken.
        PlanError: the plan is wrong or does not fit the model.
    """
    with one_thread():
        weights = read_weights(source) if isinstance(source, (str, PathLike)) else Weights.of(source)
        resolved = Plan.resolve(plan)
        coded = (known or CodedTensors()).coded(weights, resolved, guidance or {})
        return _archive(weights, resolved, coded, on_tensor)


def read_weights(path: str | PathLike[str], *, exclude: Sequence[str] = ()) -> Weights:
    """The weights of a checkpoint that is not compressed yet.

    Raises:
        WeightsError: it is compressed already, or cannot be taken (see :meth:`Weights.from_checkpoint`).
    """
    if is_archive(path):
        raise WeightsError(
            f"{path} is a compressed file already. To compress its weights once more, expand it first; better compress "
            "the checkpoint it was made from."
        )
    return Weights.from_checkpoint(path, exclude=exclude)


def assemble(
    weights: Weights, plan: Plan, payloads: Iterable[Payload], on_tensor: Callable[[Weight], None] | None = None
) -> Archive:
    """The archive of payloads, one for each tensor in order, each coded in the fewest bytes."""
    coded = (fewest_bytes(weight, payload) for weight, payload in zip(weights, payloads, strict=True))
    return _archive(weights, plan, coded, on_tensor)


def _archive(
    weights: Weights, plan: Plan, coded: Iterable[CodedTensor], on_tensor: Callable[[Weight], None] | None
) -> Archive:
    entries: list[Entry] = []
    streams: dict[str, bytes] = {}
    for weight, (entry, data) in zip(weights, coded, strict=True):
        entries.append(entry)
        streams[entry.key] = data
        if on_tensor is not None:
            on_tensor(weight)
    assets: list[Asset] = []
    for name, content in sorted(weights.assets.items()):
        asset, data = encode_asset(name, content)
        assets.append(asset)
        streams[asset.key] = data
    manifest = Manifest(
        entries=tuple(entries),
        ties=dict(weights.ties),
        excluded=weights.excluded,
        class_path=weights.class_path,
        hyper_parameters=weights.hyper_parameters,
        hyper_parameters_left_out=weights.hyper_parameters_left_out,
        plan=plan.to_config(),
        fingerprint=weights.fingerprint,
        assets=tuple(assets),
    )
    return Archive(manifest, streams)


def load(path: str | PathLike[str], *, max_bytes: int | None = None) -> dict[str, Tensor]:
    """Every tensor of a compressed file, in its original dtype, tied ones sharing memory.

    Args and errors as for :meth:`Archive.open` and :meth:`Archive.restore`.
    """
    return Archive.open(path, max_bytes=max_bytes).restore()


def expand(
    path: str | PathLike[str], out: str | PathLike[str], *, on_tensor: Callable[[Entry], None] | None = None
) -> None:
    """Write a compressed file as a Lightning checkpoint (``out`` ends in ``.ckpt``) or as plain safetensors.

    Args:
        path: a compressed file.
        out: a path where nothing stands yet.
        on_tensor: called after each restored tensor, for progress.

    Raises:
        ForeignFileError: ``out`` exists.
        FormatError: ``path`` is not a sound compressed file.
        WeightsError: it holds a dtype that safetensors cannot.
        OSError: one of them cannot be read or written; no partial file is left.
    """
    target = Path(fspath(out))
    if target.exists():
        raise ForeignFileError(f"{target} exists and is not replaced: remove it, or write elsewhere")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist: create it, or write elsewhere")
    archive = Archive.open(path)
    if target.suffix == ".ckpt":
        checkpoint = as_checkpoint(archive, on_tensor=on_tensor)
        _write_whole(target, lambda partial: _save_checkpoint(checkpoint, partial))
        return
    # Untied, since safetensors holds no shared memory; other tools ask for the format.
    tensors = {name: t.clone().contiguous() for name, t in archive.restore(on_tensor=on_tensor).items()}
    _write_whole(target, lambda partial: safetensors.torch.save_file(tensors, partial, metadata={"format": "pt"}))


def _save_checkpoint(checkpoint: dict[str, object], path: Path) -> None:
    with path.open("wb") as file:  # given a path, torch writes the name of the file into it
        torch.save(checkpoint, file)


def _write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``target``, and give it that name once it is whole."""
    try:
        with becoming(target) as partial:
            write(partial)
    except KeyError as error:
        raise WeightsError(f"safetensors cannot hold {error}: expand to a .ckpt instead") from error
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise OSError(f"cannot write {target}: {error}") from error


def as_checkpoint(archive: Archive, *, on_tensor: Callable[[Entry], None] | None = None) -> dict[str, object]:
    """The dictionary that Lightning expects of a ``.ckpt``, with weights and hyper-parameters alone."""
    return {
        "state_dict": archive.restore(on_tensor=on_tensor),
        "hyper_parameters": dict(archive.manifest.hyper_parameters),
        "pytorch-lightning_version": _lightning_version(),
    }


def _lightning_version() -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("pytorch-lightning")
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("lightning")
    return "2.0.0"
