"""A training on two processes, run as a script: ``distributed_training.py FOLDER STRATEGY ON_ERROR DISK``."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from small_trainings import Small, trainer
from torch.distributed.fsdp import FullyShardedDataParallel, ShardedStateDictConfig, StateDictType, fully_shard

from lightning_compress.callbacks import CompressCheckpoint
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


class Sharded(Small):
    """Its layers are split over the processes where the strategy gives it a mesh."""

    def configure_model(self):
        if self.device_mesh is not None:
            mesh = self.device_mesh["data_parallel"]
            if not any(hasattr(parameter, "full_tensor") for parameter in self.parameters()):
                for part in (self.net[0], self.net[3], self.net):
                    fully_shard(part, mesh=mesh)


def main(folder: Path, strategy: str, on_error: str, disk: str) -> None:
    if disk == "full":
        _fill_the_disk_of_rank_zero()
    run = trainer(
        folder,
        CompressCheckpoint("half", on_error=on_error),
        ModelCheckpoint(folder, filename="{epoch}", monitor="score", save_last=True),
        devices=2,
        strategy=_strategy(strategy),
        max_epochs=2,
        use_distributed_sampler=False,
    )
    outcome: dict[str, object] = {}
    try:
        run.fit(Sharded())
        if disk == "free":
            fresh = Sharded()
            (result,) = run.test(fresh, ckpt_path=folder / "epoch=1.safetensors", verbose=False)
            outcome["tested"] = result["test_loss"]
            try:
                run.fit(fresh, ckpt_path=folder / "epoch=1.safetensors")
            except CallbackError as error:
                outcome["refused"] = str(error)
    except Exception as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
    outcome["steps"] = run.global_step
    (folder.parent / f"rank-{run.global_rank}.json").write_text(json.dumps(outcome))


def _strategy(name: str) -> DDPStrategy | ModelParallelStrategy:
    if name == "ddp":
        return DDPStrategy(process_group_backend="gloo", timeout=TIMEOUT)
    if name == "flat":
        return FlatShards(
            state_dict_type="sharded",
            process_group_backend="gloo",
            timeout=TIMEOUT,
        )
    return ModelParallelStrategy(
        data_parallel_size=2,
        tensor_parallel_size=1,
        save_distributed_checkpoint=name == "sharded",
        process_group_backend="gloo",
        timeout=TIMEOUT,
    )


def _fill_the_disk_of_rank_zero() -> None:
    def flush(_):
        raise OSError(28, "No space left on device")

    if os.environ.get("LOCAL_RANK", "0") == "0":
        os.fsync = flush


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
