"""``load_from_checkpoint`` of a LightningModule's own class, for compressed files too."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import torch
from torch import nn

from lightning_compress.archive import is_archive
from lightning_compress.errors import CallbackError
from lightning_compress.files.companion_names import SUFFIX
from lightning_compress.loading.modules import load_from_checkpoint

_METHOD = "load_from_checkpoint"


class LoadCompressedMixin:
    """Lets ``LitModel.load_from_checkpoint(path)`` take compressed files beside checkpoints.

    Lightning reads the path by a function of its own, which no plugin replaces, so the class has to say it, before
    ``LightningModule``::

        class LitModel(LoadCompressedMixin, LightningModule): ...

    Raises:
        CallbackError: when a class is defined in which ``LightningModule`` stands before the mixin.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_stands_first(cls, LoadCompressedMixin, _METHOD)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **overrides: Any,
    ) -> Any:
        """Build the module of a checkpoint, by Lightning, or of a compressed file.

        Args:
            checkpoint_path: path or URL; what is no compressed file goes to Lightning with all arguments.
            map_location: the device that the module is moved to.
            hparams_file: for checkpoints only.
            strict: as for :func:`~lightning_compress.load_from_checkpoint`.
            weights_only: for checkpoints only; a compressed file never holds code.
            overrides: as for :func:`~lightning_compress.load_from_checkpoint`.

        Raises:
            CallbackError: an argument has no meaning for a compressed file.
            CompressionError: as for :func:`~lightning_compress.load_from_checkpoint`.
        """
        if not is_compressed(checkpoint_path):
            original: Callable[..., Any] = getattr(super(), _METHOD)
            return original(checkpoint_path, map_location, hparams_file, strict, weights_only, **overrides)
        if hparams_file is not None:
            raise CallbackError(
                f"hparams_file is {hparams_file!r:.80}, but {checkpoint_path} holds its hyper-parameters: give others "
                "as keywords"
            )
        if not (map_location is None or isinstance(map_location, (str, torch.device))):
            raise CallbackError(f"map_location is {map_location!r:.80}, expected a device for a compressed file")
        factory: Any = cls
        module: nn.Module = load_from_checkpoint(factory, checkpoint_path, strict=strict, **overrides)
        return module if map_location is None else module.to(map_location)


def is_compressed(path: object) -> bool:
    """Whether a path leads to a file of this package, or has the name of one."""
    return isinstance(path, (str, PathLike)) and (str(path).endswith(SUFFIX) or is_archive(path))


def check_stands_first(kind: type, mixin: type, method: str) -> None:
    """Check that a class has a method from a mixin, and not from a base that stands before it.

    Raises:
        CallbackError: it has not.
    """
    first = next(base for base in kind.__mro__ if method in vars(base))
    if not issubclass(first, mixin):
        raise CallbackError(
            f"{kind.__qualname__} takes {method} from {first.__qualname__}: name the mixin first, "
            f"class {kind.__name__}({mixin.__name__}, {first.__name__})"
        )
