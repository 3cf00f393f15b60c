"""The weights to compress, taken from a state dict, a module or a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

from torch import Tensor, nn

from lightning_compress.errors import WeightsError
from lightning_compress.runtime.cached import cached_property
from lightning_compress.weights.arguments import check_module, check_source
from lightning_compress.weights.classes import classify
from lightning_compress.weights.constants import exact_reasons
from lightning_compress.weights.metadata.checkpoint_record import CheckpointRecord
from lightning_compress.weights.metadata.module_metadata import assets_of, unwrap
from lightning_compress.weights.reading import Checkpoint, read_checkpoint
from lightning_compress.weights.storable.selection import select_tensors
from lightning_compress.weights.storable.stored_names import check_stored_names
from lightning_compress.weights.ties import Tie, find_ties
from lightning_compress.weights.values.fingerprint import PREFIX, fingerprint


@dataclass(frozen=True)
class Weight:
    """One stored tensor.

    Attributes:
        name: its name in the state dict.
        tensor: its values, of any shape and dtype.
        class_name: the part of the model it belongs to.
        reason: why it is kept exactly unless a rule names it, such as "buffer"; None for a weight.
    """

    name: str
    tensor: Tensor
    class_name: str
    reason: str | None = None

    @property
    def is_trained(self) -> bool:
        """Whether its numbers come from a training, as far as is known: no constant, such as a running mean."""
        return self.reason is None and self.tensor.is_floating_point()


@dataclass(frozen=True, eq=False)
class Weights:
    """The content of a compressed file before compression: tensors, ties, hyper-parameters and assets.

    Attributes:
        weights: the stored tensors, in the order of the state dict.
        ties: name → the stored tensor it is a view of.
        tied_classes: name of a tied tensor → the class that its own name gives it.
        excluded: names left out because decoding does not need them.
        class_path: import path of the module's class; None if no module was given.
        hyper_parameters: the hyper-parameters that can be stored exactly, in their order.
        hyper_parameters_left_out: names of the hyper-parameters that cannot.
        hparams_name: name of the constructor's argument that takes all hyper-parameters together
            (``save_hyperparameters(cfg)``); None or ``"kwargs"`` if each is an argument of its own.
        checkpoint: other values of the Lightning checkpoint that ``on_load_checkpoint`` may read: ``epoch``,
            ``global_step``, and what ``on_save_checkpoint`` added.
        checkpoint_left_out: names of what it added and that cannot be stored exactly.
        assets: files that decoding needs (vocabularies, tokenizers): name → bytes.

    Raises:
        WeightsError: a name is one that a file cannot hold: it is not text, not UTF-8, too long, or stands twice.
    """

    weights: tuple[Weight, ...]
    ties: Mapping[str, Tie] = field(default_factory=dict)
    tied_classes: Mapping[str, str] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    class_path: str | None = None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    hyper_parameters_left_out: tuple[str, ...] = ()
    hparams_name: str | None = None
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_left_out: tuple[str, ...] = ()
    assets: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_stored_names("tensor", (*(weight.name for weight in self.weights), *self.ties), distinct=True)
        check_stored_names("class", {weight.class_name for weight in self.weights})
        check_stored_names("left-out tensor", self.excluded)
        check_stored_names("left-out hyper-parameter", self.hyper_parameters_left_out)
        check_stored_names("left-out value of the checkpoint", self.checkpoint_left_out)
        check_stored_names("asset", self.assets)

    def __iter__(self) -> Iterator[Weight]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def record(self) -> CheckpointRecord:
        """What the file holds of the module beside tensors."""
        return CheckpointRecord(**{name: getattr(self, name) for name in vars(CheckpointRecord())})

    @cached_property
    def fingerprint(self) -> str:
        """Digest of names, dtypes, shapes, values and ties; equal content has equal fingerprints on every device."""
        return self.fingerprint_like(PREFIX)

    def fingerprint_like(self, other: str) -> str:
        """The fingerprint, of the kind that another one has: older files hold a SHA-256."""
        ties = {name: [tie.of, tie.offset, tie.shape, tie.stride] for name, tie in self.ties.items()}
        return fingerprint(((weight.name, weight.tensor) for weight in self.weights), ties, other)

    def state_dict(self) -> dict[str, Tensor]:
        """Name → tensor for all tensors, tied ones included as views, as :meth:`Archive.restore` returns them."""
        tensors = {weight.name: weight.tensor for weight in self.weights}
        bases = {tie.of: tensors[tie.of].contiguous() for tie in self.ties.values()}
        return tensors | {name: tie.view(bases[tie.of]) for name, tie in self.ties.items()}

    @classmethod
    def of(cls, source: Weights | Mapping[str, Tensor] | nn.Module | str | PathLike[str]) -> Weights:
        """The weights of any supported source: weights, a state dict, a module or the path of a checkpoint."""
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
        """The current weights of a module; arguments as for :meth:`from_state_dict`."""
        check_module(module)
        state = module.state_dict()
        record = CheckpointRecord.of_module(unwrap(module), state)
        return cls.from_state_dict(state, module=module, exclude=exclude, classes=classes, record=record)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | PathLike[str],
        *,
        exclude: Sequence[str] = (),
        classes: Mapping[str, str | Sequence[str]] | None = None,
        key: str | None = None,
        deferred: bool = False,
    ) -> Weights:
        """The weights and hyper-parameters of a checkpoint; no code in the file is run.

        A checkpoint of Lightning or of another training, a saved state dict, a safetensors file, the index of a
        sharded model, or a folder of ``torch.distributed.checkpoint``. Hyper-parameters that only code could read are
        skipped; the log names them.

        Args:
            path: path or URL of the file; or a local folder that holds an index, or the pieces of several ranks.
            exclude: patterns of tensors to leave out.
            classes: class name → patterns; they take precedence over the derived classes.
            key: where the state dict is in the checkpoint, such as ``"ema"``; keys of nested mappings are joined by
                dots. By default it is found, and a choice between several is refused.
            deferred: whether the values of tensors are read from the file each time that they are needed, so that the
                model need not be in memory. The file must not be changed meanwhile; that it was is an OSError.

        Raises:
            WeightsError: the file is missing, damaged or of another kind, has no state dict or several, or a tensor in
                it cannot be read.
        """
        checkpoint = read_checkpoint(fspath(path), key, deferred=deferred)
        return cls.of_checkpoint(checkpoint, exclude=exclude, classes=classes)

    @classmethod
    def of_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        exclude: Sequence[str] = (),
        classes: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Weights:
        """The weights and hyper-parameters of a checkpoint that was read; arguments as for :meth:`from_checkpoint`."""
        record = CheckpointRecord.of_checkpoint(checkpoint.entries)
        return cls.from_state_dict(checkpoint.state, exclude=exclude, classes=classes, record=record)

    @classmethod
    def from_state_dict(
        cls,
        state: Mapping[str, Tensor],
        *,
        module: nn.Module | None = None,
        exclude: Sequence[str] = (),
        classes: Mapping[str, str | Sequence[str]] | None = None,
        hyper_parameters: Mapping[str, Any] | None = None,
        record: CheckpointRecord | None = None,
    ) -> Weights:
        """The weights of a state dict.

        Args:
            state: tensor names and tensors.
            module: the module they belong to. It determines classes, ties, which tensors are buffers, the state of
                metrics, and hyper-parameters. Its optional method ``compression_exclude() -> list[str]`` returns
                further patterns to leave out, and ``compression_assets() -> dict[str, bytes]`` returns files to store.
            exclude: patterns of tensors to leave out.
            classes: class name → patterns; they take precedence over the derived classes.
            hyper_parameters: the constructor arguments of the module; by default those of the record.
            record: what the checkpoint of the state dict holds beside it; by default the hyper-parameters of the
                module, ``module.hparams``.

        Raises:
            WeightsError: an entry is not a tensor with values, a pattern matches nothing, or an optional method returns
                a wrong type.
        """
        check_source(state, module, classes)
        if record is not None and not isinstance(record, CheckpointRecord):
            raise WeightsError(f"record is {record!r:.80}, expected a CheckpointRecord")
        module = unwrap(module)
        kept, excluded = select_tensors(state, module, exclude)
        ties = find_ties(kept, module)
        shapes = {name: tensor.shape for name, tensor in kept.items()}
        class_of = classify(kept, module=module, shapes=shapes, overrides=classes)
        reasons = exact_reasons(kept, module=module, aliases={name: tie.of for name, tie in ties.items()})
        record = record or CheckpointRecord.of_module(module)
        if hyper_parameters is not None:
            record = record.with_hyper_parameters(hyper_parameters)
        return cls(
            weights=tuple(Weight(n, t, class_of[n], reasons.get(n)) for n, t in kept.items() if n not in ties),
            ties=ties,
            tied_classes={name: class_of[name] for name in ties},
            excluded=excluded,
            class_path=None if module is None else f"{type(module).__module__}.{type(module).__qualname__}",
            **(vars(record) | {"assets": {**record.assets, **assets_of(module)}}),
        )
