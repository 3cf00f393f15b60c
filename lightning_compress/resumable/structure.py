"""A checkpoint as tensors, and the structure that holds them, which is JSON."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import FormatError
from lightning_compress.quantize import DTYPES

_DTYPES = frozenset(DTYPES.values())
_PLAIN = (bool, int, float, str, type(None))
_DEEPEST = 200
_ATTRIBUTE = "_metadata"  # of the state dict of a module: versions of its parts


@dataclass
class Parts:
    """A checkpoint that is taken apart.

    Attributes:
        structure: its dictionaries, lists and values, with a reference for each tensor and each other object.
        tensors: name → tensor, each once. A name is the path to where it stands first.
        objects: what is neither a tensor nor one of JSON's kinds, as files of ``torch.save``.
    """

    structure: Any = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    objects: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, checkpoint: Mapping[Any, Any]) -> Parts:
        """Take a checkpoint apart. Tensors that are the same memory are one tensor afterwards, too."""
        parts = cls()
        parts.structure = _Taking(parts).take(checkpoint, "")
        return parts

    def joined(self, load: Callable[[bytes], Any]) -> dict[Any, Any]:
        """The checkpoint.

        Args:
            load: the content of a file of ``torch.save`` → the object.

        Raises:
            FormatError: the structure is none that :meth:`of` makes.
        """
        try:
            checkpoint = self._join(self.structure, load)
        except (KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
            raise FormatError(
                f"the structure of the checkpoint is damaged ({type(error).__name__}: {error})"
            ) from error
        if not isinstance(checkpoint, dict):
            raise FormatError(f"the file holds a {type(checkpoint).__name__}, expected a checkpoint, a dictionary")
        return checkpoint

    def _join(self, value: Any, load: Callable[[bytes], Any]) -> Any:
        if isinstance(value, list):
            return [self._join(each, load) for each in value]
        if not isinstance(value, dict):
            return value
        (kind, content), *more = value.items()
        if kind == "tensor":
            tensor = self.tensors[content]
            return tensor if not more else nn.Parameter(tensor, requires_grad=bool(more[0][1]))
        if kind == "object":
            return load(self.objects[content])
        if kind == "float":
            return float(content)
        if kind == "tuple":
            return tuple(self._join(each, load) for each in content)
        pairs = ((self._join(key, load), self._join(each, load)) for key, each in content)
        if kind == "dict":
            return dict(pairs)
        if kind != "ordered":
            raise ValueError(f"{kind!r} is unknown")
        result = OrderedDict(pairs)
        for _, metadata in more:
            setattr(result, _ATTRIBUTE, self._join(metadata, load))
        return result


class _Taking:
    """Takes one checkpoint apart."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[Hashable, str] = {}

    def take(self, value: Any, path: str, depth: int = 0) -> Any:
        """The structure of a value that stands at a path."""
        kind = type(value)
        if kind is float and not math.isfinite(value):
            return {"float": repr(value)}
        if kind in _PLAIN:
            return value
        if kind in (Tensor, nn.Parameter) and _is_plain(value):
            reference: dict[str, Any] = {"tensor": self._name(value.detach(), path)}
            return reference | ({"parameter": value.requires_grad} if kind is nn.Parameter else {})
        if depth < _DEEPEST:
            if kind is list:
                return [self.take(each, f"{path}.{index}", depth + 1) for index, each in enumerate(value)]
            if kind is tuple:
                return {"tuple": [self.take(each, f"{path}.{index}", depth + 1) for index, each in enumerate(value)]}
            if kind is dict:
                return {"dict": self._pairs(value, path, depth)}
            if kind is OrderedDict and set(vars(value)) <= {_ATTRIBUTE}:
                more = {name: self.take(each, f"{path}.{name}", depth + 1) for name, each in vars(value).items()}
                return {"ordered": self._pairs(value, path, depth), **more}
        return {"object": self._object(value)}

    def _pairs(self, value: Mapping[Any, Any], path: str, depth: int) -> Sequence[Any]:
        return [
            [self.take(key, path, depth + 1), self.take(each, f"{path}.{key}" if path else str(key), depth + 1)]
            for key, each in value.items()
        ]

    def _name(self, tensor: Tensor, path: str) -> str:
        """The name of a tensor, which is that of one with the same memory."""
        view = tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.is_conj(), tensor.is_neg()
        memory = (tensor.data_ptr(), tensor.device, *view)
        if tensor.numel() and memory in self._known:
            return self._known[memory]
        name, number = path, 1
        while name in self._parts.tensors:
            name, number = f"{path}#{number}", number + 1
        self._parts.tensors[name] = tensor
        self._known[memory] = name
        return name

    def _object(self, value: object) -> int:
        content = io.BytesIO()
        torch.save(value, content)
        self._parts.objects.append(content.getvalue())
        return len(self._parts.objects) - 1


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and tensor.dtype in _DTYPES and tensor.device.type != "meta"
