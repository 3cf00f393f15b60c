"""From a state dict, a module or a checkpoint to the weights that decoding needs."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike, fspath
from typing import Any

import fsspec
import torch
from torch import Tensor, nn

from lightning_compress.errors import WeightsError
from lightning_compress.weights.classes import classify
from lightning_compress.weights.names import matches_any, strip_wrappers
from lightning_compress.weights.ties import Tie, find_ties

# Names under which training-only state usually stands; used where no module tells more.
_TRAINING_ONLY = frozenset({"criterion", "loss", "loss_fn", "loss_function", "metric", "metrics"})


@dataclass(frozen=True)
class Weight:
    """One stored tensor: its name in the state dict, its values (any shape and dtype) and its class."""

    name: str
    tensor: Tensor
    class_name: str


@dataclass(frozen=True, eq=False)
class Weights:
    """Everything a compressed file is made from.

    Attributes:
        weights: the stored tensors, in the order of the state dict.
        ties: name → the stored tensor it is a view of.
        excluded: names left out because decoding does not need them.
        class_path: import path of the module's class, where a module was given.
        hyper_parameters: those that JSON can hold.
        hyper_parameters_left_out: names of those it cannot.
        assets: files that decoding needs (vocabularies, tokenizers): name → bytes.
    """

    weights: tuple[Weight, ...]
    ties: Mapping[str, Tie] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    class_path: str | None = None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    hyper_parameters_left_out: tuple[str, ...] = ()
    assets: Mapping[str, bytes] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Weight]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, dtypes, shapes, values and ties: equal for equal content, wherever it lies."""
        digest = hashlib.sha256()
        for weight in self.weights:
            tensor = weight.tensor
            digest.update(f"{weight.name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
            digest.update(as_bytes(tensor).numpy().data)
        digest.update(json.dumps({n: [t.of, t.offset, t.shape, t.stride] for n, t in self.ties.items()}).encode())
        return digest.hexdigest()

    @classmethod
    def of(cls, source: Weights | Mapping[str, Tensor] | nn.Module | str | PathLike[str]) -> Weights:
        """The weights of whatever holds some: weights, a state dict, a module or the path of a checkpoint."""
        if isinstance(source, Weights):
            return source
        if isinstance(source, nn.Module):
            return cls.from_module(source)
        if isinstance(source, Mapping):
            return cls.from_state_dict(source)
        if isinstance(source, (str, PathLike)):
            return cls.from_checkpoint(source)
        raise WeightsError(
            f"cannot take weights from {type(source).__name__}: give a state dict, a module or the path of a checkpoint"
        )

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        *,
        exclude: Sequence[str] = (),
        classes: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Weights:
        """The weights of a module as they stand; arguments as for :meth:`from_state_dict`."""
        return cls.from_state_dict(module.state_dict(), module=module, exclude=exclude, classes=classes)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | PathLike[str],
        *,
        exclude: Sequence[str] = (),
        classes: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Weights:
        """The weights and hyper-parameters of a Lightning checkpoint or of a saved state dict.

        Read with ``weights_only=True``: no code of the file is run.

        Raises:
            WeightsError: the file is missing, sharded, damaged, or holds more than tensors and plain values.
        """
        checkpoint = _read_checkpoint(fspath(path))
        state = checkpoint.get("state_dict", checkpoint)
        if not isinstance(state, Mapping):
            raise WeightsError(f"{path}: 'state_dict' is a {type(state).__name__}, expected names and tensors")
        return cls.from_state_dict(
            state, exclude=exclude, classes=classes, hyper_parameters=checkpoint.get("hyper_parameters")
        )

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        *,
        module: nn.Module | None = None,
        exclude: Sequence[str] = (),
        classes: Mapping[str, str | Sequence[str]] | None = None,
        hyper_parameters: Mapping[str, Any] | None = None,
    ) -> Weights:
        """The weights of a state dict.

        Args:
            state: tensor names and tensors.
            module: the module they belong to: tells classes, ties, metric and loss state, hyper-parameters, and, by its
                optional methods ``compression_exclude() -> list[str]`` (patterns) and
                ``compression_assets() -> dict[str, bytes]``, what else to leave out and what to take along.
            exclude: patterns of tensors to leave out.
            classes: class name → patterns, over the derived classes.
            hyper_parameters: what rebuilds the module; those of ``module`` by default.

        Raises:
            WeightsError: something that is not a tensor with values, or a pattern that matches nothing.
        """
        extra = tuple(n for n, v in state.items() if n.endswith("_extra_state") and not isinstance(v, Tensor))
        tensors = _merge_pruning(_checked({n: v for n, v in state.items() if n not in extra}))
        patterns = [*exclude, *_call(module, "compression_exclude", [])]
        for pattern in exclude:
            if not any(matches_any([pattern], name) for name in tensors):
                raise WeightsError(
                    f"exclude pattern {pattern!r} matches none of the {len(tensors)} tensors: remove or correct it"
                )
        skipped = _training_only(tensors, module)
        kept = {n: t for n, t in tensors.items() if n not in skipped and not matches_any(patterns, n)}
        ties = find_ties(kept, module)
        class_of = classify(kept, module=module, overrides=classes)
        if hyper_parameters is None:
            hyper_parameters = getattr(module, "hparams", None)
        held, left_out = _json_able(hyper_parameters or {})
        return cls(
            weights=tuple(Weight(n, t, class_of[n]) for n, t in kept.items() if n not in ties),
            ties=ties,
            excluded=(*(name for name in tensors if name not in kept), *extra),
            class_path=None if module is None else f"{type(module).__module__}.{type(module).__qualname__}",
            hyper_parameters=held,
            hyper_parameters_left_out=left_out,
            assets=dict(_call(module, "compression_assets", {})),
        )


def as_bytes(tensor: Tensor) -> Tensor:
    """The values of a tensor of any dtype as one flat ``uint8`` tensor, without a copy where it lies contiguously."""
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)


def _read_checkpoint(path: str) -> Mapping[str, Any]:
    try:
        if "://" in path:
            with fsspec.open(path, "rb") as file:
                return _mapping(path, torch.load(file, map_location="cpu", weights_only=True))
        return _mapping(path, torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except IsADirectoryError as error:
        raise WeightsError(
            f"{path} is a directory: a sharded checkpoint. Consolidate it into one file first "
            "(python -m lightning.pytorch.utilities.consolidate_checkpoint)."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"cannot read {path} as a checkpoint: {error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors and plain values, and is not read, because that would run its code. "
            "If you trust it, allow the class with torch.serialization.add_safe_globals, or load it yourself "
            f"and give its state dict. Torch said: {error}"
        ) from error


def _mapping(path: str, content: object) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, expected a checkpoint or a state dict")
    return content


def _checked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by name, or a WeightsError that names the first entry that cannot be stored."""
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise WeightsError(f"{name!r} is a {type(tensor).__name__}, expected a name and a tensor")
        if tensor.device.type == "meta":
            raise WeightsError(f"{name!r} is on the meta device and has no values: materialize it first")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
            raise WeightsError(
                f"{name!r} has layout {tensor.layout} and dtype {tensor.dtype}, expected a dense tensor: convert it "
                "(to_dense(), dequantize()) or leave it out with compression_exclude()"
            )
        if hasattr(tensor, "full_tensor"):
            raise WeightsError(f"{name!r} is one shard of a distributed tensor: gather it with full_tensor() first")
        result[name] = tensor.detach()
    return result


def _merge_pruning(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace ``x_orig`` and ``x_mask`` of ``torch.nn.utils.prune`` by the pruned ``x``."""
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        base, is_original = name.removesuffix("_orig"), name.endswith("_orig")
        if is_original and f"{base}_mask" in state:
            result[base] = tensor * state[f"{base}_mask"]
        elif not (name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state):
            result[name] = tensor
    return result


def _training_only(state: Mapping[str, Tensor], module: nn.Module | None) -> set[str]:
    """Names of metric and loss state: by type where the module is known, else by name."""
    if module is None:
        return {name for name in state if _TRAINING_ONLY & set(strip_wrappers(name).lower().split(".")[:-1])}
    prefixes = [f"{strip_wrappers(n)}." for n, m in module.named_modules() if n and _is_training_only(m)]
    return {name for name in state if strip_wrappers(name).startswith(tuple(prefixes))}


def _is_training_only(module: nn.Module) -> bool:
    is_metric = any(c.__name__ == "Metric" and c.__module__.startswith("torchmetrics") for c in type(module).__mro__)
    return is_metric or isinstance(module, nn.modules.loss._Loss)


def _call(module: nn.Module | None, method: str, default: Any) -> Any:
    function = getattr(module, method, None)
    return function() if callable(function) else default


def _json_able(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values that survive JSON unchanged, and the names of the others."""
    held: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in dict(values).items():
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == (
                list(value) if isinstance(value, tuple) else value
            )
        except (TypeError, ValueError, RecursionError):
            same = False
        if isinstance(name, str) and same:
            held[name] = value
        else:
            left_out.append(str(name))
    return held, tuple(left_out)
