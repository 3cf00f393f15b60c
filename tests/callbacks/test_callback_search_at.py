"""When ``plan="auto"`` searches: once at the end, at the first checkpoint, or at every one."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, loader, names, trainer
from torch.nn import functional as F

from lightning_compress import Archive, Score
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.callbacks.export.auto import searched_plans
from lightning_compress.errors import CallbackError

pytestmark = pytest.mark.usefixtures("quick_coding", "quick_predictions")


def negative_loss(module):
    return -float(sum(F.mse_loss(module(x), y) for x, y in loader())) / 4


def saving(folder):
    return ModelCheckpoint(folder, filename="{epoch}", monitor="val_loss", save_top_k=-1)


def files(folder):
    return {name: Archive.open(folder / name).manifest for name in names(folder, ".compressed.safetensors")}


def count_searches(monkeypatch):
    calls, original = [], searched_plans.smallest
    monkeypatch.setattr(
        searched_plans, "smallest", lambda *args, **options: calls.append(1) or original(*args, **options)
    )
    return calls


def test_by_default_it_searches_once_at_the_end_for_the_best_checkpoint(tmp_path, monkeypatch):
    searches, during, saves = count_searches(monkeypatch), [], saving(tmp_path)

    class Watch(Small):
        def on_validation_epoch_start(self):
            during.append(len(searches))

    compress = CompressCheckpoint("auto", evaluate=negative_loss, max_drop=0.5, effort="quick", on_error="raise")
    trainer(tmp_path, compress, saves, max_epochs=2).fit(Watch(200))
    assert searches == [1]
    assert set(during) == {0}
    best = saves.best_model_path.rpartition("/")[2].replace(".ckpt", ".compressed.safetensors")
    found = files(tmp_path)
    assert set(found) == {"epoch=0.compressed.safetensors", "epoch=1.compressed.safetensors"}
    assert [name for name, manifest in found.items() if "search" in manifest.metrics] == [best]
    (other,) = set(found) - {best}
    assert {entry.payload["kind"] for entry in found[other].entries} <= {"half", "raw"}
    assert Archive.open(tmp_path / best).nbytes < Archive.open(tmp_path / other).nbytes


def test_every_checkpoint_is_searched_anew_where_that_is_asked_for(tmp_path, monkeypatch):
    searches = count_searches(monkeypatch)
    compress = CompressCheckpoint(
        "auto", evaluate=negative_loss, max_drop=0.5, effort="quick", search_at="every", on_error="raise"
    )
    trainer(tmp_path, compress, saving(tmp_path), max_epochs=2).fit(Small(200))
    assert searches == [1, 1]
    assert all("search" in manifest.metrics for manifest in files(tmp_path).values())


def test_a_search_that_fails_at_the_end_leaves_the_file_in_half_precision(tmp_path, caplog):
    compress = CompressCheckpoint("auto", evaluate=lambda _: float("nan"), max_drop=1, on_error="raise")
    trainer(tmp_path, compress, saving(tmp_path), max_epochs=1).fit(Small())
    (manifest,) = files(tmp_path).values()
    assert "search" not in manifest.metrics
    assert "the file stays in half precision: evaluate gave NaN" in caplog.text


def test_other_moments_are_refused():
    with pytest.raises(CallbackError, match="search_at"):
        CompressCheckpoint("auto", search_at="last")
    with pytest.raises(CallbackError, match="are for plan='auto'"):
        CompressCheckpoint("half", search_at="every")


class Failing:
    """The negative loss; at its fifth call something happens instead."""

    def __init__(self, happens):
        self.calls, self.happens = 0, happens

    def __call__(self, module):
        self.calls += 1
        if self.calls == 5:
            self.happens()
        return negative_loss(module)


def interrupted():
    raise KeyboardInterrupt


def test_an_interrupt_in_a_search_keeps_its_file_and_ends_the_training(tmp_path):
    compress = CompressCheckpoint("auto", evaluate=Failing(interrupted), max_drop=0.5, search_at="first")
    run = trainer(tmp_path, compress, saving(tmp_path), max_epochs=2)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run.fit(Small(200))
    (manifest,) = files(tmp_path).values()
    assert manifest.metrics["search"]["interrupted"] == "KeyboardInterrupt"
    assert run.current_epoch == 0


def test_sigterm_in_a_search_keeps_its_file(tmp_path, monkeypatch):
    """Lightning notes the signal, which it does at the end of the call that is running."""
    noted = []
    monkeypatch.setattr("pytorch_lightning.Trainer.received_sigterm", property(lambda _: bool(noted)))
    evaluate = Failing(lambda: noted.append(1))
    compress = CompressCheckpoint("auto", evaluate=evaluate, max_drop=0.5, on_error="raise")
    trainer(tmp_path, compress, saving(tmp_path), max_epochs=1).fit(Small(200))
    (manifest,) = files(tmp_path).values()
    assert manifest.metrics["search"]["interrupted"] == "SearchStoppedError"
    assert evaluate.calls == 5


def test_what_a_search_will_cost_is_said_after_the_first_validation(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("lightning_compress.callbacks.export.auto.search_cost.announce", said.append)
    compress = CompressCheckpoint("auto", max_drop=0.5, effort="quick")
    run = trainer(tmp_path, compress, saving(tmp_path), max_epochs=2, num_sanity_val_steps=1)

    class Watch(Small):
        def on_train_epoch_end(self):
            said.append(self.current_epoch)

    run.validate(Watch(), verbose=False)
    assert said == []  # nothing is searched
    run.fit(Watch())
    assert said[0].startswith("CompressCheckpoint('auto'): an evaluation took ")
    assert "so a search of up to 8 takes at most a minute" in said[0]
    assert said[1:] == [0, 1]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_other_items_confirm_the_file(tmp_path, mode):
    def score(module, part):
        values = [-F.mse_loss(module(x), y, reduction="none").mean(1) for x, y in loader()]
        return Score.mean_of((1 if mode == "max" else -1) * torch.cat(values)[part].detach().numpy())

    compress = CompressCheckpoint(
        "auto",
        evaluate=lambda module: score(module, slice(0, None, 2)),
        confirm=lambda module: score(module, slice(1, None, 2)),
        mode=mode,
        max_drop=0.5,
        effort="quick",
        on_error="raise",
    )
    trainer(tmp_path, compress, saving(tmp_path), max_epochs=1).fit(Small(200))
    (manifest,) = files(tmp_path).values()
    assert manifest.metrics["search"]["confirmed"]["passed"]
    assert manifest.metrics["search"]["score_before"] < 0


def test_a_confirmation_that_is_none_is_refused():
    for confirm in (negative_loss, 3):
        with pytest.raises(CallbackError, match="confirm is"):
            CompressCheckpoint("auto", evaluate=negative_loss, max_drop=1, confirm=confirm)
    with pytest.raises(CallbackError, match="are for plan='auto'"):
        CompressCheckpoint("half", confirm=False)


def test_an_error_that_no_search_expects_leaves_the_file_in_half_precision(tmp_path, monkeypatch, caplog):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(searched_plans, "smallest", broken)
    compress = CompressCheckpoint("auto", evaluate=negative_loss, max_drop=1.0)
    trainer(tmp_path, compress, saving(tmp_path), max_epochs=1).fit(Small(), loader(), loader())
    (manifest,) = files(tmp_path).values()
    assert "search" not in manifest.metrics
    assert "the file stays in half precision: ZeroDivisionError: division by zero" in caplog.text
