"""What a Lightning checkpoint holds of a module beside its tensors."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights.metadata.hyper_parameters import HyperParameters, exact_copy, is_omegaconf, printable

VERSION_KEY = "pytorch-lightning_version"
ASSETS_KEY = "assets"  # of the checkpoints that a compressed file is expanded to: its attached files
MAX_VALUE_BYTES = 65_536  # of the text of one value
# What Lightning itself writes: none of it is needed to rebuild a module, and most of it only resumes a training.
LIGHTNINGS_OWN = frozenset(
    {
        VERSION_KEY,
        *("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops"),
        *("hyper_parameters", "hparams_name", "hparams_type"),
        *("datamodule_hyper_parameters", "datamodule_hparams_name", "datamodule_hparams_type"),
        *("native_amp_scaling_state", "amp_scaling_state", "averaging_state", "current_model_state"),
        *("MixedPrecision", "MixedPrecisionPlugin", "FSDPPrecision", "FSDPMixedPrecisionPlugin", "DeepSpeedPrecision"),
    }
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointRecord:
    """Hyper-parameters, other values and attached files; the fields of :class:`Weights` with these names."""

    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    hyper_parameters_left_out: tuple[str, ...] = ()
    hparams_name: str | None = None
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_left_out: tuple[str, ...] = ()
    assets: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def of_checkpoint(cls, checkpoint: Mapping[Any, Any], ignore: Collection[str] = ()) -> CheckpointRecord:
        """The record in a checkpoint. Without Lightning's version key, only hyper-parameters are taken.

        Args:
            checkpoint: as Lightning saves it.
            ignore: further keys that Lightning itself has written.
        """
        values, name = checkpoint.get("hyper_parameters"), checkpoint.get("hparams_name")
        found = HyperParameters.of(values, name, typed="hparams_type" in checkpoint)
        held: dict[str, Any] = {}
        left_out: list[str] = []
        assets: Mapping[str, bytes] = {}
        for name, value in checkpoint.items() if VERSION_KEY in checkpoint else ():
            if name in LIGHTNINGS_OWN or name in ignore:
                continue
            if name == ASSETS_KEY and _are_assets(value):
                assets = dict(value)
                continue
            copy = exact_copy(name, value, MAX_VALUE_BYTES) if _may_be_small(value) else None
            if copy is None:
                left_out.append(printable(name))
            else:
                held.update(copy)
        return cls(found.held, found.left_out, found.argument, held, tuple(left_out), assets)

    @classmethod
    def of_module(cls, module: nn.Module | None, state: Mapping[str, Any] | None = None) -> CheckpointRecord:
        """The record of a module.

        Args:
            module: any module; hyper-parameters are those of its attribute ``hparams``.
            state: its state dict. With it, a Lightning module is asked what it adds to a checkpoint: its
                ``on_save_checkpoint`` is called with a dictionary of its own. Without it, only hyper-parameters are
                taken.
        """
        if module is not None and state is not None and is_lightning_module(module):
            return cls.of_checkpoint(_private_checkpoint(module, state))
        found = HyperParameters.of(getattr(module, "hparams", None), getattr(module, "_hparams_name", None))
        return cls(found.held, found.left_out, found.argument)

    def with_hyper_parameters(self, values: object) -> CheckpointRecord:
        """The record with these hyper-parameters, each of them an argument of its own."""
        found = HyperParameters.of(values)
        return replace(
            self, hyper_parameters=found.held, hyper_parameters_left_out=found.left_out, hparams_name=found.argument
        )


def is_lightning_module(module: nn.Module) -> bool:
    """Whether the module is a ``LightningModule``; Lightning need not be installed."""
    return lightning_package(type(module)) is not None


def lightning_package(kind: type) -> str | None:
    """The package whose ``LightningModule`` a class inherits: ``pytorch_lightning``, ``lightning.pytorch`` or None."""
    for base in kind.__mro__:
        for package in ("pytorch_lightning", "lightning.pytorch"):
            if base.__name__ == "LightningModule" and base.__module__.startswith(f"{package}."):
                return package
    return None


def _private_checkpoint(  # Any: a module of Lightning, which is not imported here
    module: Any, state: Mapping[str, Any]
) -> dict[str, Any]:
    """The checkpoint that Lightning would save of the module now, without what only a training needs.

    Attributes that the hook sets on the module are set back, and so is the random state.
    """
    attributes = dict(vars(module))
    checkpoint: dict[str, Any] = {
        "epoch": module.current_epoch,
        "global_step": module.global_step,
        VERSION_KEY: _lightning_version(module),
        "state_dict": dict(state),
    }
    if module.hparams:
        name, values = getattr(module, "_hparams_name", None), module.hparams
        checkpoint |= {"hparams_name": name, "hyper_parameters": values if is_omegaconf(values) else dict(values)}
    filled = dict(checkpoint)
    try:
        with preserved_random_state():
            module.on_save_checkpoint(filled)
    except Exception as error:
        _log.warning("on_save_checkpoint of %s failed, so what it adds is not stored: %r", type(module).__name__, error)
        filled = checkpoint
    finally:
        for added in [attribute for attribute in vars(module) if attribute not in attributes]:
            del vars(module)[added]
        vars(module).update(attributes)
    return filled


def _lightning_version(module: nn.Module) -> str:
    return str(getattr(sys.modules.get(lightning_package(type(module)) or ""), "__version__", "2.0.0"))


def _are_assets(value: object) -> bool:
    return isinstance(value, Mapping) and all(type(k) is str and type(v) is bytes for k, v in value.items())


def _may_be_small(value: object) -> bool:
    """Whether the text of a value may have at most ``MAX_VALUE_BYTES``: each item has two bytes at least."""
    left, waiting = MAX_VALUE_BYTES, [value]
    while waiting and left >= 0:
        item = waiting.pop()
        left -= len(item) if isinstance(item, (str, bytes)) else 2
        if isinstance(item, (dict, list, tuple)):
            if 2 * len(item) > left:
                return False
            waiting += [*item.keys(), *item.values()] if isinstance(item, dict) else item
    return left >= 0
