"""``plan="auto"``: a search at the first checkpoint, its plan after that, and a training that notices nothing."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from small_trainings import Recurrent, Small, Tied, Vision, loader, names, trainer
from torch.nn import functional as F
from torchmetrics import MeanMetric, MeanSquaredError

from lightning_compress import Archive, Plan, Score
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.callbacks.export.auto.searched_plans import Auto
from lightning_compress.callbacks.objective import Objective
from lightning_compress.errors import CallbackError, CompressionError, SearchError
from lightning_compress.search.max_drop import MaxDrop

pytestmark = pytest.mark.usefixtures("quick_coding", "quick_predictions")


def at_first(**options):
    """A callback that searches at the first checkpoint."""
    return CompressCheckpoint("auto", search_at="first", **{"max_drop": 0.3, **options})


class Wide(Small):
    """Wide enough to be worth a search."""

    def __init__(self, width: int = 400) -> None:
        super().__init__(width)


def searched(folder, name):
    archive = Archive.open(folder / f"{name}.compressed.safetensors")
    return archive, archive.manifest.metrics["search"]


def by_loss(folder, **options):
    return ModelCheckpoint(folder, filename="{epoch}", monitor="val_loss", save_top_k=-1, **options)


@torch.no_grad()
def negative_loss(module):
    return -float(sum(F.mse_loss(module(x), y) for x, y in loader())) / 4


def count_searches(monkeypatch):
    calls = []
    from lightning_compress.callbacks.export.auto import searched_plans

    original = searched_plans.smallest
    monkeypatch.setattr(
        searched_plans, "smallest", lambda *args, **options: calls.append(1) or original(*args, **options)
    )
    return calls


def test_it_searches_once_by_the_trainers_validation_and_uses_the_plan_again(tmp_path, monkeypatch):
    searches = count_searches(monkeypatch)
    compress = at_first(max_drop=0.5, on_error="raise")
    run = trainer(tmp_path, compress, by_loss(tmp_path))
    run.fit(Wide())
    assert searches == [1]
    plans, observed = set(), set()
    for epoch in range(3):
        archive, found = searched(tmp_path, f"epoch={epoch}")
        observed.add(found.get("observed", False))
        assert found["drop"] <= 0.5
        assert archive.report().ratio > 1.5
        plans.add(str(archive.manifest.plan))
    assert len(plans) == len(observed) == 1
    assert found["evaluations"] == 3
    assert found["score_before"] == pytest.approx(-float(run.callback_metrics["val_loss"]), abs=1e-5)


def test_the_score_in_the_file_is_that_of_its_weights(tmp_path):
    trainer(tmp_path, at_first(max_drop=0.5), by_loss(tmp_path), max_epochs=1).fit(Wide())
    module = Wide()
    (measured,) = trainer(tmp_path, CompressCheckpoint("half"), enable_checkpointing=False).validate(
        module, ckpt_path=tmp_path / "epoch=0.compressed.safetensors", verbose=False
    )
    assert searched(tmp_path, "epoch=0")[1]["score_after"] == pytest.approx(-measured["val_loss"], abs=1e-5)


def test_an_evaluation_of_ones_own(tmp_path):
    seen = []

    def evaluate(module):
        seen.append(type(module))
        return Score.mean_of([negative_loss(module), negative_loss(module)])

    compress = at_first(evaluate=evaluate, max_drop=0.5, on_error="raise")
    trainer(tmp_path, compress, ModelCheckpoint(tmp_path, filename="{epoch}"), max_epochs=1).fit(Wide())
    assert set(seen) == {Wide}
    assert "interval" in searched(tmp_path, "epoch=0")[1]


def test_a_drop_that_grows_is_answered_by_a_new_search(tmp_path, monkeypatch):
    searches, exact = count_searches(monkeypatch), {}

    def evaluate(module):
        """Minus the distance of the answers from those at the first call of an epoch, ever more in later ones."""
        answers = torch.cat([module(x) for x, _ in loader()])
        first = exact.setdefault(module.current_epoch, answers)
        return -float((answers - first).norm()) * 4.0**module.current_epoch

    compress = at_first(evaluate=evaluate, max_drop=0.2, on_error="raise")
    trainer(tmp_path, compress, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)).fit(Wide())
    assert len(searches) >= 2
    assert all(searched(tmp_path, f"epoch={epoch}")[1]["drop"] <= 0.2 for epoch in range(3))


class Metered(Small):
    """Logs its metric as torchmetrics objects, keeps state between validations, and draws random numbers in them."""

    def __init__(self) -> None:
        super().__init__(64)
        self.error = MeanSquaredError()
        self.mean = MeanMetric()
        self.collected: list[float] = []
        self.validations = 0

    def on_validation_epoch_start(self):
        self.validations += 1

    def validation_step(self, batch, batch_idx):
        x, y = batch
        torch.rand(3)
        self.error(self(x), y)
        self.collected.append(float(F.mse_loss(self(x), y)))
        self.log("val_error", self.error, on_epoch=True)
        self.log_dict({"score": 0.5, "val_loss": F.mse_loss(self(x), y)}, batch_size=len(x))

    def on_validation_epoch_end(self):
        self.mean.update(sum(self.collected))
        self.log("collected", sum(self.collected) / len(self.collected))
        self.collected.clear()


MODULES = [Wide, Vision, Recurrent, Tied, Metered]


def _run(folder, module, monitor, *callbacks, **options):
    torch.manual_seed(3)
    made = module()
    checkpoint = ModelCheckpoint(folder, filename="{epoch}", monitor=monitor, save_top_k=-1)
    run = trainer(folder, *callbacks, checkpoint, **options)
    run.fit(made)
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    return run, made, state, torch.get_rng_state()


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("average", [False, True], ids=["", "averaged"])
def test_the_training_is_the_same_as_without_it(tmp_path, module, average):
    monitor = "val_error" if module is Metered else "val_loss"
    extra = [[EMAWeightAveraging(decay=0.5)] if average else [] for _ in range(2)]
    plain, alone, state, rng = _run(tmp_path / "plain", module, monitor, *extra[0])
    compress = at_first(max_drop=0.5, effort="quick", on_error="raise")
    run, made, after, rng_after = _run(tmp_path / "auto", module, monitor, *extra[1], compress)
    assert names(tmp_path / "auto", ".compressed.safetensors") == {
        f"epoch={k}.compressed.safetensors" for k in range(3)
    }
    assert all(torch.equal(tensor, after[name]) for name, tensor in state.items())
    assert torch.equal(rng, rng_after)
    assert run.global_step == plain.global_step
    assert run.callback_metrics == plain.callback_metrics
    assert made.training == alone.training
    if module is Metered:
        assert made.validations == alone.validations
        assert made.mean.compute() == alone.mean.compute()
        assert made.error._update_count == alone.error._update_count
        assert made.collected == []
    for name in names(tmp_path / "plain", ".ckpt"):
        first, second = (
            torch.load(tmp_path / kind / name, weights_only=False, map_location="cpu") for kind in ("plain", "auto")
        )
        assert all(torch.equal(t, second["state_dict"][n]) for n, t in first["state_dict"].items())
        assert first.keys() == second.keys()


@pytest.mark.parametrize("monitor", ["val_error", "collected", "val_loss"])
def test_every_way_of_logging_gives_lightnings_value(tmp_path, monitor):
    compress = CompressCheckpoint(
        "auto", search_at="first", monitor=monitor, mode="min", max_drop=0.5, effort="quick", on_error="raise"
    )
    run = trainer(tmp_path, compress, ModelCheckpoint(tmp_path, filename="{epoch}"), max_epochs=1)
    run.fit(Metered())
    found = searched(tmp_path, "epoch=0")[1]
    assert found["score_before"] == pytest.approx(-float(run.callback_metrics[monitor]), rel=1e-5)


class TwoLoaders(Small):
    def __init__(self) -> None:
        super().__init__(64)

    def val_dataloader(self):
        return [loader(), loader()]

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y) * (1 + dataloader_idx), on_step=True, on_epoch=True)
        self.log(f"largest_{dataloader_idx}", F.mse_loss(self(x), y), reduce_fx="max", add_dataloader_idx=False)


@pytest.mark.parametrize("monitor", ["val_loss_epoch/dataloader_idx_1", "val_loss_epoch/dataloader_idx_0", "largest_1"])
def test_several_loaders_and_reductions(tmp_path, monitor):
    compress = CompressCheckpoint(
        "auto", search_at="first", monitor=monitor, mode="min", max_drop=0.5, effort="quick", on_error="raise"
    )
    saving = ModelCheckpoint(tmp_path, filename="{epoch}")
    run = trainer(tmp_path, compress, saving, max_epochs=1, limit_val_batches=3)
    run.fit(TwoLoaders())
    found = searched(tmp_path, "epoch=0")[1]
    assert found["score_before"] == pytest.approx(-float(run.callback_metrics[monitor]), rel=1e-5)


def test_more_is_better_where_the_checkpoint_says_so(tmp_path):
    saving = ModelCheckpoint(tmp_path, filename="{epoch}", monitor="score", mode="max")
    trainer(tmp_path, at_first(on_error="raise", effort="quick"), saving, max_epochs=1).fit(Wide())
    assert searched(tmp_path, "epoch=0")[1]["score_before"] == pytest.approx(0.9)


def test_a_search_that_fails_is_logged_and_the_training_goes_on(tmp_path, caplog):
    def evaluate(_):
        raise RuntimeError("no references")

    saving = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    run = trainer(tmp_path, at_first(evaluate=evaluate), saving, max_epochs=2)
    run.fit(Wide())
    assert run.global_step == 8
    assert names(tmp_path, ".compressed.safetensors") == set()
    errors = [r for r in caplog.records if r.name.startswith("lightning_compress") and r.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "evaluate failed on the exact weights with RuntimeError: no references" in errors[0].getMessage()


def test_or_ends_the_training_where_asked(tmp_path):
    compress = at_first(evaluate=lambda _: float("nan"), on_error="raise")
    run = trainer(tmp_path, compress, ModelCheckpoint(tmp_path, filename="{epoch}"))
    with pytest.raises(SearchError, match="NaN"):
        run.fit(Wide())
    assert run.global_step == 4


def ever_milder(module):
    """The loss counts less from epoch to epoch, so that a plan that holds goes on to hold."""
    return negative_loss(module) * 0.25**module.current_epoch


def test_a_resumed_run_takes_up_the_plan(tmp_path, monkeypatch):
    first = at_first(evaluate=ever_milder, max_drop=0.5, on_error="raise")
    trainer(tmp_path, first, by_loss(tmp_path), max_epochs=1).fit(Wide())
    searches = count_searches(monkeypatch)
    again = at_first(evaluate=ever_milder, max_drop=0.5, on_error="raise")
    trainer(tmp_path, again, by_loss(tmp_path), max_epochs=2).fit(Wide(), ckpt_path=tmp_path / "epoch=0.ckpt")
    assert searches == []
    plans = {str(searched(tmp_path, f"epoch={epoch}")[0].manifest.plan) for epoch in range(2)}
    assert len(plans) == 1


class Answering:
    """The training data, the loss on it, and what is taken for the scores before a softmax."""

    def __init__(self) -> None:
        self.losses = 0

    def __iter__(self):
        return iter(loader())

    def loss(self, module, batch):
        self.losses += 1
        return F.mse_loss(module(batch[0]), batch[1])

    def outputs(self, module, batch):
        return module(batch[0])


def test_calibration_guides_the_search_and_every_later_file(tmp_path, monkeypatch):
    searches, calibration = count_searches(monkeypatch), Answering()
    measured = []

    def keep(self, *_):
        measured.append(calibration.losses)

    monkeypatch.setattr(ModelCheckpoint, "on_train_epoch_start", keep, raising=False)
    options = {"calibration": calibration, "evaluate": ever_milder, "max_drop": 0.5, "on_error": "raise"}
    compress = at_first(**options)
    made = Wide()
    plain = Wide()
    plain.load_state_dict(made.state_dict())
    torch.manual_seed(3)
    trainer(tmp_path, compress, by_loss(tmp_path)).fit(made)
    assert searches == [1]
    assert len(set(measured)) == len(measured) == 3
    archives, facts = zip(*(searched(tmp_path, f"epoch={epoch}") for epoch in range(3)), strict=True)
    assert all(found["drop"] <= 0.5 for found in facts)
    assert len({str(archive.manifest.plan) for archive in archives}) == 1
    assert [found["evaluations"] for found in facts[1:]] == [3, 3]
    assert [(found["measure"], found["mode"]) for found in facts] == [("score", "max")] * 3
    assert archives[-1].streams_named("row_exponents")
    torch.manual_seed(3)
    trainer(tmp_path / "plain", by_loss(tmp_path / "plain")).fit(plain)
    assert all(torch.equal(tensor, made.state_dict()[name]) for name, tensor in plain.state_dict().items())

    resumed = trainer(tmp_path, at_first(**options), by_loss(tmp_path), max_epochs=4)
    resumed.fit(Wide(), ckpt_path=tmp_path / "epoch=2.ckpt")
    assert searches == [1]
    last, _ = searched(tmp_path, "epoch=3")
    assert last.manifest.plan == archives[0].manifest.plan


def test_scores_are_logged(tmp_path):
    csv = CSVLogger(tmp_path)
    compress = at_first(max_drop=0.5, effort="quick", on_error="raise")
    trainer(tmp_path, compress, by_loss(tmp_path), logger=csv, max_epochs=1).fit(Wide())
    text = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text(encoding="utf-8")
    assert {"compression/score_before", "compression/score_after", "compression/drop"} <= set(
        text.split("\n")[0].split(",")
    )


@pytest.mark.parametrize(
    ("options", "settings", "told"),
    [
        ({}, {}, "a score is needed: give monitor=… and mode=…, or evaluate=…, or the trainer a ModelCheckpoint"),
        ({"monitor": "val_bleu"}, {}, "whether more of 'val_bleu' is better is not known"),
        (
            {"monitor": "val_loss", "mode": "min"},
            {"limit_val_batches": 0},
            "a score needs a validation: give the trainer validation data, or evaluate=…",
        ),
        ({"monitor": "score", "mode": "max"}, {}, r"max_drop is needed: how much of 'score' .*max_drop='1%'"),
        ({"evaluate": negative_loss}, {}, "max_drop is needed: how much of 'negative_loss'"),
    ],
)
def test_without_a_score_it_is_refused_before_the_first_step(tmp_path, options, settings, told):
    needed = {} if "max_drop" in told else {"max_drop": 0.3}
    run = trainer(tmp_path, CompressCheckpoint("auto", **needed, **options), ModelCheckpoint(tmp_path), **settings)
    with pytest.raises(CallbackError, match=told):
        run.fit(Wide())
    assert run.global_step == 0


def test_the_error_about_an_unknown_metric_names_the_logged_ones(tmp_path, caplog):
    compress = at_first(monitor="bleu", mode="max")
    trainer(tmp_path, compress, ModelCheckpoint(tmp_path), max_epochs=1).fit(Wide())
    assert "validation does not log 'bleu', it logs score, val_loss" in caplog.text


def test_options_of_the_search_are_refused_with_a_plan():
    with pytest.raises(CallbackError, match="are for plan='auto', and the plan is 'half'"):
        CompressCheckpoint("half", evaluate=negative_loss)
    with pytest.raises(CompressionError, match="effort='most'"):
        at_first(effort="most")
    assert CompressCheckpoint("half").plan == Plan.resolve("half")
    assert at_first().plan is None


def _fake_trainer(module, world_size=1):
    saving = ModelCheckpoint(monitor="val_loss", mode="min")
    return SimpleNamespace(
        lightning_module=module,
        strategy=SimpleNamespace(model=module),
        checkpoint_callbacks=[saving],
        world_size=world_size,
        enable_validation=True,
    )


def test_processes_that_cannot_validate_together_need_an_evaluation_and_shards_are_refused():
    auto = Auto(Objective(), MaxDrop(0.3), None, "default")
    auto.check(_fake_trainer(Small()))
    with pytest.raises(CallbackError, match=r"2 processes of .* cannot validate together, .*: give evaluate"):
        auto.check(_fake_trainer(Small(), world_size=2))
    own = Auto(Objective(evaluate=negative_loss), MaxDrop(0.3), None, "default")
    own.check(_fake_trainer(Small(), world_size=2))
    sharded = Small()
    sharded.net[0] = type("FullyShardedDataParallel", (torch.nn.Linear,), {})(4, 4)
    with pytest.raises(CallbackError, match="which is sharded here"):
        own.check(_fake_trainer(sharded))
