"""``when="best"`` and ``when="last"``: which checkpoints have a file, and when one loses it."""

from __future__ import annotations

import pytest
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from small_trainings import Small, expect_same_weights, names, trainer

from lightning_compress import compress
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.errors import CallbackError


class Watch(Callback):
    """The compressed files there are after each epoch's checkpoints."""

    def __init__(self, folder) -> None:
        self.folder, self.seen = folder, []

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen.append(sorted(names(self.folder, ".compressed.safetensors")))


def _scored(folder, **options):
    return ModelCheckpoint(folder, monitor="score", filename="{epoch}", **options)


def test_best_follows_the_best_of_the_top_k(tmp_path):
    watch = Watch(tmp_path)
    compress = CompressCheckpoint("half", when="best", on_error="raise")
    trainer(tmp_path, watch, compress, _scored(tmp_path, save_top_k=3), max_epochs=5).fit(Small())
    assert watch.seen == [
        [],
        ["epoch=0.compressed.safetensors"],
        ["epoch=1.compressed.safetensors"],
        ["epoch=1.compressed.safetensors"],
        ["epoch=3.compressed.safetensors"],
    ]
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=3.compressed.safetensors"}
    assert names(tmp_path, ".ckpt") == {"epoch=1.ckpt", "epoch=3.ckpt", "epoch=4.ckpt"}
    expect_same_weights(tmp_path / "epoch=3.ckpt", tmp_path / "epoch=3.compressed.safetensors")


def test_best_of_each_of_several_and_none_for_their_last(tmp_path):
    low = ModelCheckpoint(tmp_path / "low", monitor="score", filename="{epoch}", save_last=True)
    high = ModelCheckpoint(tmp_path / "high", monitor="score", filename="{epoch}", mode="max", save_top_k=2)
    trainer(tmp_path, CompressCheckpoint("half", when="best"), low, high).fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {
        "low/epoch=1.compressed.safetensors",
        "high/epoch=0.compressed.safetensors",
    }
    assert "low/last.ckpt" in names(tmp_path, ".ckpt")


def test_best_without_a_monitor_is_the_newest_as_lightning_has_it(tmp_path):
    every = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer(tmp_path, CompressCheckpoint("half", when="best"), every).fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=2.compressed.safetensors"}


def test_a_link_to_the_best_has_a_link_and_a_link_to_another_has_none(tmp_path):
    compress = CompressCheckpoint("half", when="best")
    checkpoint = _scored(tmp_path, save_top_k=-1, save_last="link")
    trainer(tmp_path, compress, checkpoint, max_epochs=2).fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {
        "epoch=1.compressed.safetensors",
        "last.compressed.safetensors",
    }
    assert (tmp_path / "last.compressed.safetensors").is_symlink()
    again = trainer(tmp_path, compress, _scored(tmp_path, save_top_k=-1, save_last="link"), max_epochs=3)
    again.fit(Small(), ckpt_path=tmp_path / "last.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=1.compressed.safetensors"}
    assert (tmp_path / "last.ckpt").resolve() == tmp_path / "epoch=2.ckpt"


def test_a_resumed_run_takes_the_file_from_what_was_best_before(tmp_path):
    first = trainer(tmp_path, CompressCheckpoint("half", when="best"), _scored(tmp_path, save_top_k=-1))
    first.fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=1.compressed.safetensors"}
    again = CompressCheckpoint("half", when="best")
    resumed = trainer(tmp_path, again, _scored(tmp_path, save_top_k=-1), max_epochs=4)
    resumed.fit(Small(), ckpt_path=tmp_path / "epoch=2.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=3.compressed.safetensors"}


def test_a_run_that_resumes_into_another_folder_leaves_the_first_alone(tmp_path):
    old, new = tmp_path / "run-old", tmp_path / "run"
    trainer(tmp_path, CompressCheckpoint("half", when="last"), _scored(old), max_epochs=1).fit(Small())
    moved = trainer(tmp_path, CompressCheckpoint("half", when="last"), _scored(new), max_epochs=2)
    with pytest.warns(UserWarning, match="dirpath has changed"):
        moved.fit(Small(), ckpt_path=old / "epoch=0.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {
        "run-old/epoch=0.compressed.safetensors",
        "run/epoch=1.compressed.safetensors",
    }


def test_names_with_folders_are_taken_up_as_well(tmp_path):
    def checkpoint():
        return ModelCheckpoint(tmp_path, monitor="score", filename="{epoch}/model", save_top_k=-1)

    trainer(tmp_path, CompressCheckpoint("half", when="last"), checkpoint(), max_epochs=1).fit(Small())
    again = trainer(tmp_path, CompressCheckpoint("half", when="last"), checkpoint(), max_epochs=2)
    again.fit(Small(), ckpt_path=tmp_path / "epoch=0" / "model.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=1/model.compressed.safetensors"}


def test_a_file_made_by_hand_for_one_that_lost_its_own_is_left_alone(tmp_path):
    run = trainer(tmp_path, CompressCheckpoint("half", when="last"), enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(tmp_path / "a.ckpt")
    run.save_checkpoint(tmp_path / "b.ckpt")
    compress(tmp_path / "a.ckpt", "half").save(tmp_path / "a.compressed.safetensors")
    run.save_checkpoint(tmp_path / "c.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"a.compressed.safetensors", "c.compressed.safetensors"}


def test_last_is_the_newest_save_alone(tmp_path):
    watch = Watch(tmp_path)
    compress = CompressCheckpoint("half", when="last", on_error="raise")
    trainer(tmp_path, watch, compress, _scored(tmp_path, save_top_k=-1)).fit(Small())
    assert watch.seen == [[], ["epoch=0.compressed.safetensors"], ["epoch=1.compressed.safetensors"]]
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=2.compressed.safetensors"}


def test_last_is_lasts_own_file_where_there_is_one(tmp_path):
    compress = CompressCheckpoint("half", when="last")
    run = trainer(tmp_path, compress, _scored(tmp_path, save_top_k=-1, save_last=True))
    run.fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {"last.compressed.safetensors"}
    expect_same_weights(tmp_path / "last.ckpt", tmp_path / "last.compressed.safetensors")
    run.save_checkpoint(tmp_path / "by-hand.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"by-hand.compressed.safetensors"}


def test_no_link_is_left_when_its_target_loses_its_file(tmp_path):
    checkpoint = _scored(tmp_path, save_top_k=-1, save_last="link")
    run = trainer(tmp_path, CompressCheckpoint("half", when="last"), checkpoint, max_epochs=2)
    run.fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {
        "epoch=1.compressed.safetensors",
        "last.compressed.safetensors",
    }
    run.save_checkpoint(tmp_path / "by-hand.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"by-hand.compressed.safetensors"}


def test_last_goes_with_a_resumed_run(tmp_path):
    trainer(tmp_path, CompressCheckpoint("half", when="last"), _scored(tmp_path), max_epochs=1).fit(Small())
    again = trainer(tmp_path, CompressCheckpoint("half", when="last"), _scored(tmp_path, save_top_k=-1))
    again.fit(Small(), ckpt_path=tmp_path / "epoch=0.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=2.compressed.safetensors"}


def test_the_file_in_place_is_kept_until_its_successor_is_written(tmp_path, monkeypatch):
    compress = CompressCheckpoint("half", when="last")
    run = trainer(tmp_path, compress, enable_checkpointing=False, max_epochs=1)
    run.fit(Small())
    run.save_checkpoint(tmp_path / "a.ckpt")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        run.save_checkpoint(tmp_path / "b.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"a.compressed.safetensors"}
    run.save_checkpoint(tmp_path / "c.ckpt")
    assert names(tmp_path, ".compressed.safetensors") == {"c.compressed.safetensors"}


def test_a_file_of_an_earlier_run_does_not_stand_beside_a_newer_checkpoint(tmp_path):
    trainer(tmp_path, CompressCheckpoint("half"), _scored(tmp_path, save_last=True), max_epochs=1).fit(Small())
    assert "last.compressed.safetensors" in names(tmp_path, ".compressed.safetensors")
    best = CompressCheckpoint("half", when="best")
    same_names = _scored(tmp_path, save_last=True, enable_version_counter=False)
    trainer(tmp_path, best, same_names, max_epochs=1).fit(Small())
    assert names(tmp_path, ".compressed.safetensors") == {"epoch=0.compressed.safetensors"}


def test_best_needs_somebody_who_knows_it(tmp_path):
    run = trainer(tmp_path, CompressCheckpoint("half", when="best"), enable_checkpointing=False)
    with pytest.raises(CallbackError, match="needs a ModelCheckpoint"):
        run.fit(Small())


@pytest.mark.parametrize("options", [{"when": "first"}, {"on_error": "ignore"}])
def test_unknown_choices_are_refused_at_once(options):
    with pytest.raises(CallbackError, match="is not known: write"):
        CompressCheckpoint("half", **options)


def test_two_in_one_trainer_are_refused(tmp_path):
    run = trainer(tmp_path, CompressCheckpoint("half"), CompressCheckpoint("half", when="last"))
    with pytest.raises(CallbackError, match="keep one"):
        run.fit(Small())
