"""Weights and a plan → an archive, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike

from torch import Tensor, nn

from lightning_compress.archive import Archive, Asset, Entry, Manifest, SpooledStreams, encode_asset
from lightning_compress.compression.coded_tensors import CodedTensors
from lightning_compress.compression.exactness import tell_constants, tell_values_left_out
from lightning_compress.compression.payloads import (
    CodedTensor,
    TensorWork,
    coded_tensors,
    smallest_coding,
    work_of,
)
from lightning_compress.compression.sources import read_weights
from lightning_compress.errors import PlanError, did_you_mean
from lightning_compress.plan import Plan
from lightning_compress.quantize import Payload
from lightning_compress.runtime import beside, one_thread
from lightning_compress.weights import DeferredTensor, Weight, Weights, tensor_workers

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

    Memory beyond the weights is a few times the largest tensor, and the archive itself up to 256 MiB; more of it lies
    in a temporary file. Of a local checkpoint, one tensor at a time is in memory.

    Args:
        source: weights, a state dict, a module, or the path of a checkpoint, which must not change meanwhile.
        plan: a plan, the name of a preset, or the path of a YAML file.
        guidance: name of a stored tensor → what calibration measured for it, for the quantizers that use it; tensors
            without an entry are treated by their weights alone.
        on_tensor: called after each tensor, for progress.
        known: cache of the coded tensors of this model, with this guidance; tensors that are coded anew are added.

    Raises:
        WeightsError: the source cannot be taken.
        PlanError: the plan is wrong or does not fit the model, or another argument is wrong.
        OSError: the checkpoint was changed while it was read, or the temporary file cannot be written.
    """
    _check(guidance, on_tensor, known)
    with one_thread():
        weights = read_weights(source) if isinstance(source, (str, PathLike)) else Weights.of(source)
        _check_guided(guidance or {}, weights)
        resolved = Plan.resolve(plan)
        coded = (coded_tensors if known is None else known.coded)(weights, resolved, guidance or {})
        return _told(_archive(weights, resolved, coded, on_tensor))


def compress_together(
    weights: Weights,
    plan: Plan,
    guidance: Mapping[str, object],
    coded: Callable[[Sequence[Weight], Sequence[TensorWork]], Iterable[CodedTensor]],
) -> Archive:
    """As :func:`compress`, with tensors that several processes code.

    Args:
        weights: whose values can be read in this process.
        plan: how they are compressed.
        guidance: as for :func:`compress`.
        coded: the tensors, and the work for each → the coded tensors, in order.

    Raises:
        PlanError: the plan does not fit the model.
    """
    with one_thread():
        return _told(_archive(weights, plan, coded(weights.weights, work_of(weights, plan, guidance)), None))


def _told(archive: Archive) -> Archive:
    """The archive, after the log has said what it holds otherwise than the model."""
    tell_constants(archive.manifest)
    tell_values_left_out(archive.manifest)
    return archive


def _check(guidance: object, on_tensor: object, known: object) -> None:
    """Raise a PlanError for an argument of :func:`compress` that has a wrong type."""
    if guidance is not None and not isinstance(guidance, Mapping):
        raise PlanError(f"guidance is {guidance!r:.80}, expected name of a tensor → what calibration measured for it")
    if on_tensor is not None and not callable(on_tensor):
        raise PlanError(f"on_tensor is {on_tensor!r:.80}, expected a function of a Weight")
    if known is not None and not isinstance(known, CodedTensors):
        raise PlanError(f"known is {known!r:.80}, expected CodedTensors()")


def _check_guided(guidance: Mapping[str, object], weights: Weights) -> None:
    """Raise a PlanError for guidance of a tensor that is not stored: its name is misspelled, or that of a tie."""
    names = {weight.name for weight in weights}
    for name in guidance:
        if name not in names:
            raise PlanError(f"guidance names {name!r}, which is no stored tensor{did_you_mean(name, names)}")


def assemble(weights: Weights, plan: Plan, payloads: Iterable[Payload]) -> Archive:
    """The archive of payloads, one for each tensor in order, each coded in the fewest bytes."""
    coded = (smallest_coding(weight, payload) for weight, payload in zip(weights, payloads, strict=True))
    return _archive(weights, plan, coded, None)


def _archive(
    weights: Weights, plan: Plan, coded: Iterable[CodedTensor], on_tensor: Callable[[Weight], None] | None
) -> Archive:
    tensors = [weight.tensor for weight in weights]
    in_memory = not any(isinstance(tensor, DeferredTensor) for tensor in tensors)
    with beside(lambda: weights.fingerprint, in_thread=in_memory and tensor_workers(tensors) > 1) as fingerprint:
        entries, assets, streams = _coded(weights, plan, coded, on_tensor)
        known = fingerprint()
    manifest = Manifest(
        entries=entries,
        ties=dict(weights.ties),
        excluded=weights.excluded,
        class_path=weights.class_path,
        plan=plan.to_config(),
        fingerprint=known,
        **(vars(weights.record) | {"assets": assets}),
    )
    return Archive(manifest, streams)


def _coded(
    weights: Weights, plan: Plan, coded: Iterable[CodedTensor], on_tensor: Callable[[Weight], None] | None
) -> tuple[tuple[Entry, ...], tuple[Asset, ...], SpooledStreams]:
    """The entries of tensors and assets, and their coded bytes."""
    entries: list[Entry] = []
    streams = SpooledStreams()
    reasons = plan.overruled(weights)
    for weight, (entry, data) in zip(weights, coded, strict=True):
        entries.append(replace(entry, reason=reasons.get(weight.name, entry.reason)))
        streams.add(entry.key, data)
        if on_tensor is not None:
            on_tensor(weight)
    assets: list[Asset] = []
    for name, content in sorted(weights.assets.items()):
        asset, data = encode_asset(name, content)
        assets.append(asset)
        streams.add(asset.key, data)
    return tuple(entries), tuple(assets), streams
