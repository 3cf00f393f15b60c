"""Two processes with gloo: one file, written by rank 0, and an error that is raised on every rank."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from distributed_training import CLASS_WISE, TOGETHER, Sharded, train_as_rank
from fresh_process import in_fresh_processes
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from small_trainings import Small, names

from lightning_compress import Archive, compress, load, load_from_checkpoint
from lightning_compress.callbacks import reconcile
from lightning_compress.weights import CheckpointRecord, Weights
from lightning_compress.weights.reading import read_checkpoint


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory):
    """Folder of all trainings of ``distributed_training``: the two processes are started once."""
    folder = tmp_path_factory.mktemp("distributed")
    port = find_free_network_port()
    in_fresh_processes(train_as_rank, [(folder, rank, port) for rank in (0, 1)])
    return folder


def _outcomes(folder):
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("strategy", ["ddp", "full", "sharded", "flat", "flat, whole"])
def test_the_whole_model_is_exported_once_and_loads_on_every_rank(scenarios, strategy):
    folder = scenarios / strategy / "run"
    assert names(folder, ".compressed.safetensors") == {"epoch=1.compressed.safetensors", "last.compressed.safetensors"}
    stored = load(folder / "epoch=1.compressed.safetensors")
    assert {name: tensor.shape for name, tensor in stored.items()} == {
        name: tensor.shape for name, tensor in Small().state_dict().items()
    }
    if strategy in ("ddp", "full", "flat, whole"):
        state = torch.load(folder / "epoch=1.ckpt", weights_only=True)["state_dict"]
        for name, tensor in state.items():
            torch.testing.assert_close(stored[name], tensor, rtol=2**-7, atol=1e-30)
    model = load_from_checkpoint(Small, folder / "epoch=1.compressed.safetensors").eval()
    # Every rank tests on all the data: use_distributed_sampler=False.
    with torch.no_grad():
        losses = [torch.nn.functional.mse_loss(model(x), y) for x, y in model.test_dataloader()]
    expected = float(torch.stack(losses).mean())
    for outcome in _outcomes(scenarios / strategy):
        assert outcome["steps"] == 8
        assert outcome["tested"] == pytest.approx(expected, rel=1e-5)
        assert "Resume from its checkpoint" in outcome["refused"]


@pytest.mark.parametrize("strategy", TOGETHER)
def test_the_folder_of_a_sharded_checkpoint_is_read_as_its_companion_file(scenarios, strategy):
    folder = scenarios / strategy / "run" / "epoch=1.ckpt"
    assert {".metadata", "meta.pt", "__0_0.distcp", "__1_0.distcp"} <= names(folder, "")
    companion = Archive.open(folder.with_suffix(".compressed.safetensors"))
    weights = Weights.from_checkpoint(folder, deferred=True)
    assert weights.checkpoint["epoch"] == 1
    assert weights.hyper_parameters == companion.manifest.hyper_parameters
    own, stored = compress(weights, CLASS_WISE).restore(), companion.restore()
    assert list(own) == list(stored)
    assert all(torch.equal(own[name], tensor) for name, tensor in stored.items())


def test_missing_files_of_sharded_checkpoints_are_written_afterwards(scenarios, tmp_path):
    shutil.copytree(scenarios / "sharded" / "run", tmp_path / "run")
    (tmp_path / "run" / "epoch=1.compressed.safetensors").unlink()
    (tmp_path / "run" / "epoch=1.ckpt" / "meta.pt").touch()
    done = reconcile(tmp_path / "run", CLASS_WISE)
    assert (done.created, done.deleted, done.failed) == (
        (str(tmp_path / "run" / "epoch=1.compressed.safetensors"),),
        (),
        {},
    )


@pytest.mark.parametrize("strategy", TOGETHER)
def test_ranks_that_code_a_sharded_model_together_write_the_bytes_of_one_process(scenarios, tmp_path, strategy):
    folder = scenarios / strategy / "run"
    saved = read_checkpoint(str(folder / "epoch=1.ckpt"))
    record = CheckpointRecord.of_checkpoint(saved.entries)
    archive = compress(Weights.from_state_dict(saved.state, module=Sharded(), record=record), CLASS_WISE)
    archive.save(tmp_path / "one process")
    assert (tmp_path / "one process").read_bytes() == (folder / "epoch=1.compressed.safetensors").read_bytes()


@pytest.mark.parametrize(("strategy", "rank"), [("sharded", 0), ("sharded", 1), ("flat", 1)])
def test_a_rank_that_fails_while_all_code_ends_the_export_and_no_training(scenarios, strategy, rank):
    place = scenarios / f"{strategy}, rank {rank} fails"
    assert [outcome["steps"] for outcome in _outcomes(place)] == [8, 8]
    assert all("error" not in outcome for outcome in _outcomes(place))
    log, other = ((place / f"rank-{each}.log").read_text() for each in (0, 1))
    reason = ("failed with MemoryError: no memory left", "rank 1 failed: MemoryError: no memory left")[rank]
    assert log.count("no compressed file at") == log.count(reason) == 4
    assert other.count("rank 1 could not help to export: MemoryError") == 4 * rank
    assert {path.name for path in (place / "run").iterdir()} == {"epoch=1.ckpt", "last.ckpt"}


def test_an_error_of_rank_zero_is_raised_on_every_rank(scenarios):
    outcomes = _outcomes(scenarios / "raise")
    assert [outcome["steps"] for outcome in outcomes] == [4, 4]
    for outcome in outcomes:
        assert outcome["error"].startswith("CallbackError: ")
        assert "No space left on device" in outcome["error"]
    assert names(scenarios / "raise" / "run", "") == {"epoch=0.ckpt"}


def test_an_error_of_rank_zero_is_logged_there_and_both_ranks_continue(scenarios):
    outcomes = _outcomes(scenarios / "warn")
    assert [outcome["steps"] for outcome in outcomes] == [8, 8]
    assert all("error" not in outcome for outcome in outcomes)
    log, other = ((scenarios / "warn" / f"rank-{rank}.log").read_text() for rank in (0, 1))
    assert log.count("no compressed file at") == 4
    assert log.count("epoch=1.compressed.safetensors, the training goes on") == 1
    assert other == ""
    assert names(scenarios / "warn" / "run", "") == {"epoch=1.ckpt", "last.ckpt"}


def test_a_loss_of_batches_is_measured_on_rank_zero_and_neither_rank_trains_otherwise(scenarios):
    for outcome in _outcomes(scenarios / "sensitivity"):
        assert outcome["measured"] == outcome["plain"]
    assert [outcome["result"] for outcome in _outcomes(scenarios / "sensitivity")] == ["loss", None]
    assert (scenarios / "sensitivity" / "measured" / "sensitivity.json").exists()


@pytest.mark.parametrize("training", ["auto", "metrics", "diagnostics", "failing", "terminated"])
def test_validations_by_both_ranks_leave_the_training_of_each_as_it_is(scenarios, training):
    """Weights, buffers, random numbers and steps; the module of the second training logs another metric."""
    for outcome in _outcomes(scenarios / "together"):
        expected, found = ([part for part in outcome[name] if part != {}] for name in ("plain", training))
        for metrics in (expected[-3], found[-3]):
            metrics.pop("val_error")
        assert found == expected


@pytest.mark.parametrize(("training", "metric"), [("auto", "val_loss"), ("metrics", "val_error")])
def test_a_search_scores_the_data_of_both_ranks_as_lightning_does(scenarios, training, metric):
    found = Archive.open(scenarios / "together" / training / "best.compressed.safetensors").manifest.metrics["search"]
    assert "fallback" not in found
    for outcome in _outcomes(scenarios / "together"):
        assert found["score_before"] == pytest.approx(-outcome[training][-3][metric], rel=1e-5)


def test_a_signal_to_end_on_both_ranks_ends_the_search_and_leaves_a_file(scenarios):
    """The handler of Lightning sends a tensor between the processes, in the middle of the search."""
    archive = Archive.open(scenarios / "together" / "terminated" / "best.compressed.safetensors")
    assert archive.manifest.metrics.get("search", {}).get("evaluations", 0) <= 3
    for rank in (0, 1):
        assert f"[rank: {rank}] Received SIGTERM" in (scenarios / f"errors-{rank}.txt").read_text()


def test_diagnostics_measure_a_metric_of_the_validation(scenarios):
    zero, one = _outcomes(scenarios / "together")
    assert zero["sensitivity"] == ["val_loss", pytest.approx(zero["diagnostics"][-3]["val_loss"], rel=1e-5)]
    assert one["sensitivity"] is None
    logged = (scenarios / "together" / "metrics.csv").read_text()
    assert "val_loss_compressed" in logged.splitlines()[0]
    assert "quality was not measured" not in (scenarios / "errors-0.txt").read_text()


def test_an_error_of_one_rank_ends_a_search_and_a_diagnostic_on_both_and_no_training(scenarios):
    """The file stays in half precision; rank 0 says why."""
    archive = Archive.open(scenarios / "together" / "failing" / "best.compressed.safetensors")
    assert "search" not in archive.manifest.metrics
    zero, one = ((scenarios / f"errors-{rank}.txt").read_text() for rank in (0, 1))
    reason = "the validation failed on rank 1: RuntimeError: no memory left"
    assert "the search at the end failed, so the file stays in half precision: evaluate failed on the exact" in zero
    assert "the sensitivity of layers was not measured, the training goes on" in zero
    assert zero.count(reason) == 2
    assert "was not measured" not in one


def test_both_ranks_prune_penalize_and_skip_the_same(scenarios):
    zero, one = _outcomes(scenarios / "pruning")
    assert zero == one
    assert zero["heads"] == 6
    assert zero["zeros"] > 0


def test_both_ranks_quantize_by_the_same_steps_and_ranges(scenarios):
    zero, one = _outcomes(scenarios / "quantization")
    assert zero == one
    assert any(zero["steps"]["net.3.weight"])
    assert set(zero["ranges"]) == {"net.0", "net.3"}


def test_both_ranks_train_the_same_student_and_projection(scenarios):
    zero, one = _outcomes(scenarios / "distillation")
    assert zero == one
    first = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)) / 8**0.5
    assert len(zero["projections"]) == 1
    assert zero["projections"][0] != float(first.double().sum())
