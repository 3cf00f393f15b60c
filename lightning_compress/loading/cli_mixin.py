"""``--ckpt_path`` of ``LightningCLI``, for compressed files too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from lightning_compress.archive import Archive
from lightning_compress.errors import ClassNotAllowedError
from lightning_compress.loading.classes.class_paths import refused_paths
from lightning_compress.loading.instantiation import CLASS_KEY, INSTANTIATOR_KEY, class_to_build
from lightning_compress.loading.lightning_mixin import check_stands_first, is_compressed
from lightning_compress.loading.stored_module import StoredModule
from lightning_compress.resumable import is_resumable, read_file
from lightning_compress.weights import CheckpointRecord

_METHOD = "_parse_ckpt_path"  # of LightningCLI; between the parsing of arguments and the making of objects


class CompressedCLIMixin:
    """Lets ``--ckpt_path`` of ``LightningCLI`` take compressed files beside checkpoints.

    ``LightningCLI`` reads the hyper-parameters of the module from the path itself, before there is a trainer, so its
    class has to say it, before ``LightningCLI``::

        class CLI(CompressedCLIMixin, LightningCLI): ...

    The hyper-parameters in the file replace those of the command line, as those of a checkpoint do; one that the file
    could not hold keeps the value of the command line. The weights are read by the trainer.

    Attributes:
        allow: patterns of import paths that a file may name, as for
            :func:`~lightning_compress.load_from_checkpoint`.

    Raises:
        CallbackError: when a class is defined in which ``LightningCLI`` stands before the mixin.
        ClassNotAllowedError: a file names a class that is neither imported nor allowed.
        FormatError, ChecksumError: a file is damaged, or has the name of a compressed file and is none.
    """

    allow: ClassVar[Sequence[str]] = ()
    config: Any  # of jsonargparse, as the parser
    parser: Any
    _model_class: type[object]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_stands_first(cls, CompressedCLIMixin, _METHOD)

    def _parse_ckpt_path(self) -> None:
        """Put the hyper-parameters of the file into the configuration; a checkpoint's are Lightning's to put."""
        command = self.config.get("subcommand")
        path = self.config[command].get("ckpt_path") if command else None
        if not (path and Path(path).is_file() and is_compressed(path)):
            getattr(super(), _METHOD)()
            return
        model = self._model_arguments(str(path))
        if model:
            self.config = self.parser.parse_object({command: {"model": model}}, self.config)

    def _model_arguments(self, path: str) -> dict[str, Any]:
        """The module's arguments in a file, as the parser takes them."""
        record = _record(path)
        kind: type = class_to_build(self._model_class, StoredModule({}, record, source=path), self.allow)
        values = {n: value for n, value in record.hyper_parameters.items() if n not in (INSTANTIATOR_KEY, CLASS_KEY)}
        refused = refused_paths(kind, values, self.allow)
        if refused:
            named = ", ".join(f"{name}={text!r}" for name, text in refused.items())
            raise ClassNotAllowedError(
                f"{path} names {named}. A file may name only modules, optimizers and schedulers whose code is imported "
                "already. Import that code first, or, if you trust the file, set allow = "
                f"{list(dict.fromkeys(refused.values()))} in the class {type(self).__qualname__}"
            )
        if CLASS_KEY not in record.hyper_parameters:
            return values
        # The class that was permitted, by its own path: another one may be what the file's path leads to.
        return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "dict_kwargs": values}


def _record(path: str) -> CheckpointRecord:
    if not is_resumable(path):
        return Archive.open(path).record()
    held: object = read_file(path).get("hyper_parameters")
    return CheckpointRecord(hyper_parameters=held if isinstance(held, Mapping) else {})
