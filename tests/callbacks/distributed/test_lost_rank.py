"""A process of a training that ends while a file is written: the others end with an error, and no half file is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from distributed_training import train_and_lose_a_rank
from fresh_process import CONTEXT, start_server
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from lightning_compress import Archive


@pytest.mark.parametrize("strategy", ["ddp", "sharded"])
def test_the_rank_that_is_left_ends_soon_and_leaves_whole_files_alone(tmp_path: Path, strategy: str) -> None:
    start_server()
    port = find_free_network_port()
    ranks = [CONTEXT.Process(target=train_and_lose_a_rank, args=(tmp_path, strategy, rank, port)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(50)  # the timeout of the process group is 60 seconds
    assert [process.exitcode for process in ranks] == [0, 9]
    assert (tmp_path / "outcome").read_text() not in ("", "none")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    if strategy == "ddp":  # rank 0 needs nobody to write the file
        assert left == {"epoch=0.ckpt", "epoch=0.compressed.safetensors"}
        Archive.open(tmp_path / "run" / "epoch=0.compressed.safetensors").verify()
    else:
        assert left == {"epoch=0.ckpt"}
        told = (tmp_path / "errors-0.txt").read_text()
        assert told.count("epoch=0.compressed.safetensors, the training goes on") == 1
        assert "an export has failed" not in told
