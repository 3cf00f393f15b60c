"""Trainings on two processes, one after another; :func:`train_as_rank` is called in each of the two."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from distributed_distillation import train_and_distill
from distributed_pruning import train_and_prune
from distributed_quantization import train_and_quantize
from distributed_sensitivity import train_and_measure
from distributed_validation import train_and_validate_together
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from small_trainings import Small, trainer
from torch.distributed.fsdp import (
    FullStateDictConfig,
    FullyShardedDataParallel,
    ShardedStateDictConfig,
    StateDictType,
    fully_shard,
)

from lightning_compress import Half, Interval, Plan, Prune, Rule
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.callbacks.export.exports import Exports
from lightning_compress.compression import TensorWork
from lightning_compress.errors import CallbackError

TIMEOUT = timedelta(seconds=60)


class FlatShards(FSDPStrategy):
    """The older FSDP, whose shards are flat pieces; on the CPU it may not move them there once more."""

    def lightning_module_state_dict(self):
        settings = ShardedStateDictConfig(offload_to_cpu=False)
        with FullyShardedDataParallel.state_dict_type(self.model, StateDictType.SHARDED_STATE_DICT, settings):
            return self.model.state_dict()

    def _setup_model(self, model):
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)

    def optimizer_state(self, optimizer):
        return {}


class FlatWhole(FlatShards):
    """The older FSDP, whose checkpoint is one file; rank 0 has the whole state dict, and the others have none."""

    def lightning_module_state_dict(self):
        settings = FullStateDictConfig(offload_to_cpu=False, rank0_only=True)
        with FullyShardedDataParallel.state_dict_type(self.model, StateDictType.FULL_STATE_DICT, settings):
            return self.model.state_dict()


class Sharded(Small):
    """Its layers are split over the processes where the strategy gives it a mesh."""

    def configure_model(self):
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            if not any(hasattr(parameter, "full_tensor") for parameter in self.parameters()):
                for part in (self.net[0], self.net[3], self.net):
                    fully_shard(part, mesh=mesh)


SCENARIOS = {  # strategy, on_error, and the rank that fails: its disk is full, or it has no memory to code
    "ddp": ("ddp", "raise", None),
    "full": ("full", "raise", None),
    "sharded": ("sharded", "raise", None),
    "flat": ("flat", "raise", None),
    "flat, whole": ("flat, whole", "raise", None),
    "warn": ("ddp", "warn", 0),
    "raise": ("ddp", "raise", 0),
    "sharded, rank 0 fails": ("sharded", "warn", 0),
    "sharded, rank 1 fails": ("sharded", "warn", 1),
    "flat, rank 1 fails": ("flat", "warn", 1),
}
TOGETHER = ("sharded", "flat")  # all ranks compress
# Both are fitted to several tensors at once.
CLASS_WISE = Plan(Rule("*.bias", Half()), Rule("*", Prune(0.4, "class-blind"), Interval(4), Half()))


def train_as_rank(folder: Path, rank: int, port: int) -> None:
    """Each scenario in a folder of its own, with what each rank saw: ``rank-K.json`` and ``rank-K.log``.

    What the process writes to its standard error goes to ``errors-K.txt``.

    Args:
        folder: of all scenarios.
        rank: 0 or 1.
        port: where the processes meet.
    """
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with (folder / f"errors-{rank}.txt").open("w") as errors:
        os.dup2(errors.fileno(), 2)
        for name, (strategy, on_error, failing) in SCENARIOS.items():
            place = folder / name
            place.mkdir(exist_ok=True)
            failing_part = _no_memory if strategy in TOGETHER else _full_disk
            failure = failing_part() if rank == failing else nullcontext()
            with _logged(place / f"rank-{rank}.log"), failure:
                outcome = _train(place / "run", strategy, on_error, failing is not None)
            (place / f"rank-{rank}.json").write_text(json.dumps(outcome))
        train_and_measure(folder / "sensitivity")
        train_and_validate_together(folder / "together")
        train_and_prune(folder / "pruning")
        train_and_quantize(folder / "quantization")
        train_and_distill(folder / "distillation")


def train_and_lose_a_rank(folder: Path, strategy: str, rank: int, port: int) -> None:
    """A training whose rank 1 is killed at the first save: while it codes, or while rank 0 does.

    Args:
        folder: gets the error that ends rank 0, in the file ``outcome``.
        strategy: ``"ddp"`` or ``"sharded"``.
        rank: 0 or 1.
        port: where the processes meet.
    """
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with (folder / f"errors-{rank}.txt").open("w") as errors, pytest.MonkeyPatch.context() as patch:
        os.dup2(errors.fileno(), 2)
        if rank:
            lost = lambda *_, **__: os._exit(9)  # noqa: E731 - as a signal would
            patch.setattr(TensorWork, "coded", lost)
            patch.setattr(Exports, "submit", lost if strategy == "ddp" else Exports.submit)
        outcome = _train(folder / "run", strategy, "warn", True)
    (folder / "outcome").write_text(str(outcome.get("error", "none")))
    os._exit(0)  # the process group cannot be taken down any more


def _train(folder: Path, strategy: str, on_error: str, fails: bool) -> dict[str, object]:
    folder.mkdir(exist_ok=True)
    run = trainer(
        folder,
        CompressCheckpoint(CLASS_WISE if strategy in TOGETHER else "half", on_error=on_error),
        ModelCheckpoint(folder, filename="{epoch}", monitor="score", save_last=True),
        devices=2,
        strategy=_strategy(strategy),
        max_epochs=2,
        use_distributed_sampler=False,
    )
    outcome: dict[str, object] = {}
    try:
        run.fit(Sharded())
        if not fails:
            outcome |= _test_and_resume(run, folder / "epoch=1.compressed.safetensors")
    except Exception as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
    return outcome | {"steps": run.global_step}


def _test_and_resume(run: Trainer, path: Path) -> dict[str, object]:
    fresh = Sharded()
    (result,) = run.test(fresh, ckpt_path=path, verbose=False)
    try:
        run.fit(fresh, ckpt_path=path)
    except CallbackError as error:
        return {"tested": result["test_loss"], "refused": str(error)}
    return {"tested": result["test_loss"]}


def _strategy(name: str) -> DDPStrategy | ModelParallelStrategy:
    if name == "ddp":
        return DDPStrategy(process_group_backend="gloo", timeout=TIMEOUT)
    if name == "flat":
        return FlatShards(state_dict_type="sharded", process_group_backend="gloo", timeout=TIMEOUT)
    if name == "flat, whole":
        return FlatWhole(state_dict_type="full", process_group_backend="gloo", timeout=TIMEOUT)
    return ModelParallelStrategy(
        data_parallel_size=2,
        tensor_parallel_size=1,
        save_distributed_checkpoint=name == "sharded",
        process_group_backend="gloo",
        timeout=TIMEOUT,
    )


@contextmanager
def _full_disk() -> Iterator[None]:
    def flush(_):
        raise OSError(28, "No space left on device")

    usual, os.fsync = os.fsync, flush
    try:
        yield
    finally:
        os.fsync = usual


@contextmanager
def _no_memory() -> Iterator[None]:
    def coded(*_):
        raise MemoryError("no memory left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TensorWork, "coded", coded)
        yield


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Messages of the package go into this file, too."""
    handler, logger = logging.FileHandler(path), logging.getLogger("lightning_compress")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
