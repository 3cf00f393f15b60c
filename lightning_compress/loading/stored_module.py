"""What a file holds of a module, and the checkpoint dictionary that the module's hook reads."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from lightning_compress.archive import Archive
from lightning_compress.errors import MismatchError
from lightning_compress.weights import ASSETS_KEY, LIGHTNINGS_OWN, CheckpointRecord, Weights


@dataclass(frozen=True, eq=False)
class StoredModule:
    """Tensors, hyper-parameters and other values of a module in a file.

    Attributes:
        tensors: name → tensor, tied ones included.
        record: what the file holds beside them.
        excluded: names of tensors that were left out.
        source: name of the file, for messages.
    """

    tensors: Mapping[str, Tensor]
    record: CheckpointRecord = field(default_factory=CheckpointRecord)
    excluded: tuple[str, ...] = ()
    source: str = "the file"

    @classmethod
    def of_archive(cls, archive: Archive, source: str) -> StoredModule:
        """The content of a compressed file.

        Raises:
            FormatError, ChecksumError: the file is damaged.
        """
        tensors, record = archive.restore(), archive.record()
        if archive.manifest.format_version < 3:
            # A file of an earlier version does not hold tuples, for example, and loads as it did.
            record = replace(record, hyper_parameters_left_out=())
        return cls(tensors, record, archive.manifest.excluded, source)

    @classmethod
    def of_weights(cls, weights: Weights, source: str) -> StoredModule:
        """The content of a checkpoint."""
        return cls(weights.state_dict(), weights.record, weights.excluded, source)

    def as_checkpoint(self, version: str) -> dict[str, Any]:
        """A checkpoint dictionary as Lightning writes it, without what only resumes a training.

        Nothing in a file takes the place of what Lightning itself reads. Under ``assets`` are the attached files,
        unless the module has saved something else under this name.

        Args:
            version: the version of Lightning to name as its writer.
        """
        values = {name: value for name, value in self.record.checkpoint.items() if name not in LIGHTNINGS_OWN}
        name = {} if self.record.hparams_name is None else {"hparams_name": self.record.hparams_name}
        return {
            **copy.deepcopy({ASSETS_KEY: dict(self.record.assets)} | values),
            "pytorch-lightning_version": version,
            "state_dict": dict(self.tensors),
            **name,
            "hyper_parameters": copy.deepcopy(dict(self.record.hyper_parameters)),
        }

    def for_hook(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint for ``on_load_checkpoint``: a missing key is reported with the name of the file."""
        inner = {
            name: _NamedDict(checkpoint[name], f"checkpoint[{name!r}]", self.source, left_out)
            for name, left_out in (
                ("state_dict", self.excluded),
                ("hyper_parameters", self.record.hyper_parameters_left_out),
            )
        }
        return _NamedDict({**checkpoint, **inner}, "checkpoint", self.source, self.record.checkpoint_left_out)


class _MissingKeyError(MismatchError, KeyError):
    """A hook reads a key that the file does not hold; it may catch it as the ``KeyError`` of a checkpoint."""

    __str__ = Exception.__str__


class _NamedDict(dict[str, Any]):
    """A dictionary whose ``KeyError`` names the file."""

    def __init__(self, values: Mapping[str, Any], name: str, source: str, left_out: tuple[str, ...]) -> None:
        super().__init__(values)
        self._name, self._source, self._left_out = name, source, left_out

    def __missing__(self, key: str) -> Any:
        why = "it was left out when the file was written" if key in self._left_out else "the file does not hold it"
        raise _MissingKeyError(
            f"on_load_checkpoint reads {self._name}[{key!r}], which is not in {self._source}: {why}. It holds "
            f"{', '.join(list(self)[:20])}. Read it with checkpoint.get(…) if the module can do without it, or store "
            "it with compression_assets(), which comes back as checkpoint['assets']."
        )

    def __delitem__(self, key: str) -> None:
        if key not in self:
            self.__missing__(key)
        super().__delitem__(key)

    def pop(self, key: str, *default: object) -> Any:
        """See ``dict.pop``."""
        return super().pop(key, *default) if key in self or default else self.__missing__(key)
