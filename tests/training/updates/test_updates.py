"""Which weights steps compute with: a random share, between exact and quantized, or exact ones that a penalty draws."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Ordered, Recurrent, Small, StopAfter, trainer
from torch import nn
from torch.nn import functional as F

from lightning_compress import CompressCheckpoint, Half, Plan, QuantizeDuringTraining, Rule, compress, load
from lightning_compress.errors import CallbackError, PlanError, TrainingError
from lightning_compress.quantize import Binary, KMeans, Logarithmic, Ternary
from lightning_compress.training import LatentWeights, PenaltyUpdate, ProximalUpdate, QuantNoise, StepSettings

pytestmark = pytest.mark.usefixtures("quick_coding")
CASES = {
    "noise": {"noise": 0.5},
    "noise in rows": {"noise": QuantNoise(0.5, "row")},
    "proximal": {"update": "proximal"},
    "penalty": {"update": "penalty"},
    "all": {"update": ProximalUpdate(0.5), "noise": 0.8},
}


def plan_of(method):
    return Plan(Rule("*weight*", method), Rule("*", Half(), optional=True))


def fit(folder, module, *callbacks, source=None, **options):
    """Train, and record the weights of the forward passes of training, and of the last one of validation."""
    trained, validated = [], {}

    def record(*_):
        state = {name: value.clone() for name, value in module.state_dict().items()}
        if module.training:
            trained.append(state)
        else:
            validated.update(state)

    module.net.register_forward_pre_hook(record)
    trainer(folder, *callbacks, **options).fit(module, ckpt_path=source)
    return trained, validated


def expect_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)


def test_the_file_holds_what_was_validated(tmp_path):
    for name, options in CASES.items():
        with naming(name):
            files = CompressCheckpoint("trained", on_error="raise")
            save = ModelCheckpoint(tmp_path / name, filename="last")
            callback = QuantizeDuringTraining(plan_of(KMeans(4)), **options)
            _, validated = fit(tmp_path / name, Recurrent(), callback, files, save, max_epochs=1)
            expect_same(load(tmp_path / name / "last.compressed.safetensors"), validated)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    for name, options in CASES.items():
        with naming(name):

            def run(part, *, steps=100, source=None, options=options, name=name):
                module, folder = Ordered(), tmp_path / name / part
                save = ModelCheckpoint(folder, filename="{epoch}", save_on_train_epoch_end=True, save_top_k=-1)
                callback = QuantizeDuringTraining(plan_of(KMeans(4)), **options)
                fit(folder, module, callback, save, StopAfter(steps), source=source)
                return module.state_dict()

            whole = run("whole")
            run("parts", steps=6)
            expect_same(whole, run("parts", source=tmp_path / name / "parts" / "epoch=0.ckpt"))


def test_noise_quantizes_a_share_of_the_weights_anew_in_each_step(tmp_path):
    for block in (1, 4, "row"):
        with naming(block):
            module = nn.Linear(64, 64)
            latent = LatentWeights(module, plan_of(Binary()), settings=StepSettings(noise=QuantNoise(0.3, block)))
            chosen = []
            for step in range(40):
                latent.begin_step(step, 40)
                exact = module.weight.detach().clone()
                with latent.quantized():
                    chosen.append(module.weight.detach() != exact)
                assert torch.equal(module.weight, exact)
            share = torch.stack(chosen).float().mean()
            assert float(share) == pytest.approx(0.3, abs=0.05)
            assert not torch.equal(chosen[0], chosen[1])
            width = 64 if block == "row" else block
            blocks = chosen[0].reshape(-1, width)
            assert bool((blocks.all(1) | ~blocks.any(1)).all())
            latent.begin_step(0, 40)
            with latent.quantized():
                assert torch.equal(module.weight != exact, chosen[0])


def test_noise_takes_no_random_number_of_the_training(tmp_path):
    states = []
    for callbacks in ((), (QuantizeDuringTraining(plan_of(Ternary()), noise=0.5),)):
        torch.manual_seed(3)
        fit(tmp_path, Small(), *callbacks, max_epochs=1)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_proximal_steps_come_nearer_to_the_quantized_weights_and_end_there(tmp_path):
    module = nn.Linear(16, 16)
    latent = LatentWeights(module, plan_of(Binary()), settings=StepSettings(ProximalUpdate(0.8)))
    with LatentWeights(module, plan_of(Binary())).quantized():
        quantized = module.weight.detach().clone()
    exact, distances = module.weight.detach().clone(), []
    for step in range(11):
        latent.begin_step(step, 10)
        with latent.quantized():
            distances.append(float((module.weight.detach() - quantized).norm() / (exact - quantized).norm()))
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.99
    assert distances[4] == pytest.approx(0.5)
    assert 0 < distances[7] < 0.05
    assert not any(distances[8:])


def clustered(weight, steps=150):
    """How far weights are from their centroids after a regression with many solutions, and the loss at these."""
    torch.manual_seed(0)
    module, inputs = nn.Linear(24, 24), torch.randn(12, 24)
    targets = inputs @ torch.randn(24, 24)
    update = (
        StepSettings(PenaltyUpdate(weight, hard_after=1.0))
        if weight
        else StepSettings(PenaltyUpdate(1e-9, hard_after=1.0))
    )
    plan = plan_of(KMeans(8))
    latent = LatentWeights(module, plan, settings=update)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for step in range(steps):
        latent.begin_step(step, steps)
        optimizer.zero_grad()
        with latent.quantized():
            F.mse_loss(module(inputs), targets).backward()
            latent.end_step()
        optimizer.step()
    exact = module.weight.detach().clone()
    restored = compress(module, plan).restore()["weight"]
    module.load_state_dict({"weight": restored}, strict=False)
    return float((restored - exact).norm() / exact.norm()), F.mse_loss(module(inputs), targets).item()


def test_a_penalty_draws_weights_to_their_centroids():
    far, loss = clustered(0)
    near, lower = clustered(0.1)
    assert near < 0.5 * far
    assert lower < loss


def test_latent_weights_are_error_feedback():
    """Aji and Heafield 2020, section 4: the error of quantization is kept, and added before the next step."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(64, 12), torch.randn(64, 12)
    method, rate = Logarithmic(4), 0.05
    module = nn.Linear(12, 12, bias=False)
    start = module.weight.detach().clone()

    latent = LatentWeights(module, plan_of(method))
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    for _ in range(20):
        optimizer.zero_grad()
        with latent.quantized():
            F.mse_loss(module(inputs), targets).backward()
        optimizer.step()

    def quantize(tensor):
        return method.fit([tensor]).quantize(tensor)

    weight = quantize(start)
    error = start - weight
    for _ in range(20):
        weight.requires_grad_()
        F.mse_loss(inputs @ weight.T, targets).backward()
        updated = weight.detach() - rate * weight.grad + error
        weight = quantize(updated)
        error = updated - weight
    with latent.quantized():
        torch.testing.assert_close(module.weight, weight, rtol=1e-4, atol=1e-5)
    assert len(module.weight.unique()) > 100
    assert len(weight.abs().unique()) <= 8


def test_what_is_unknown_or_out_of_range_is_refused(tmp_path):
    for arguments, message in (
        ({"update": "soft"}, "update is 'soft'.*'proximal'"),
        ({"update": ProximalUpdate}, "ProximalUpdate"),
        ({"noise": 0}, "noise is 0"),
        ({"noise": 1.5}, r"noise is 1\.5"),
        ({"noise": "half"}, "noise is 'half'"),
    ):
        with naming(arguments), pytest.raises(PlanError, match=message):
            QuantizeDuringTraining("half", **arguments)
    for make, message in (
        (lambda: ProximalUpdate(0), "hard_after is 0"),
        (lambda: PenaltyUpdate(hard_after=2), "hard_after is 2"),
        (lambda: ProximalUpdate(steepness=-1), "steepness is -1"),
        (lambda: PenaltyUpdate(float("inf")), "weight is inf"),
        (lambda: QuantNoise(0.5, 0), "block is 0"),
        (lambda: QuantNoise(0.5, seed=-1), "seed is -1"),
    ):
        with naming(message), pytest.raises(PlanError, match=message):
            make()
    with pytest.raises(CallbackError, match="max_epochs or max_steps"):
        fit(tmp_path, Small(), QuantizeDuringTraining("half", update="proximal"), StopAfter(2), max_epochs=-1)


def test_nan_is_traced_to_the_step_that_made_it(tmp_path):
    class Diverging(Small):
        def training_step(self, batch, batch_idx):
            return F.mse_loss(self(batch[0]), batch[1]) * (float("nan") if batch_idx == 1 else 1)

    for name, options in CASES.items():
        with naming(name), pytest.raises(TrainingError, match=r"net\.0\.weight.*before it is quantized"):
            fit(tmp_path, Diverging(), QuantizeDuringTraining(plan_of(Ternary()), **options))
