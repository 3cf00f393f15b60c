"""Steps of grids are trained with the gradient of LSQ, and what is trained is what is stored."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Ordered, StopAfter, TwoOptimizers, trainer
from torch import nn
from torch.nn import functional as F

from lightning_compress import CompressCheckpoint, Grid, Half, Plan, QuantizeDuringTraining, Rule, load
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError, PlanError, TrainingError
from lightning_compress.quantize import Binary, GridGuide
from lightning_compress.training import LatentWeights, LearnedSteps, RatePenalty, StepSettings

pytestmark = pytest.mark.usefixtures("quick_coding")
GRID = Grid(0.1, trellis=0, rate_weight=0)
PLAN = Plan(Rule("*weight*", GRID), Rule("*", Half(), optional=True))
LEARNED = StepSettings(learn_steps=LearnedSteps())


class Wider(Ordered):
    """Rows of 24 weights, which have steps of their own."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1))


class RoundingStraightThrough(torch.autograd.Function):
    """Equation 5 of the paper."""

    @staticmethod
    def forward(ctx, values):
        return values.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def regression(rows=8, columns=32):
    generator = torch.Generator().manual_seed(0)
    module = nn.Linear(columns, rows, bias=False)
    inputs = torch.randn(64, columns, generator=generator)
    with torch.no_grad():
        module.weight.copy_(torch.randn(rows, columns, generator=generator))
    return module, inputs, inputs @ module.weight.detach().T


def test_the_gradient_is_that_of_lsq():
    module, inputs, targets = regression()
    exponents = torch.arange(8, dtype=torch.int32) * 16
    guided = GuidedPlan(Plan(Rule("*", Grid(0.3, trellis=0, rate_weight=0))), {"weight": GridGuide(exponents)})
    latent = LatentWeights(module, guided, settings=LEARNED)
    step = (0.3 * 2 ** (exponents / 32))[:, None].requires_grad_()
    quantized = step * RoundingStraightThrough.apply(module.weight / step)
    F.mse_loss(inputs @ quantized.T, targets).backward()
    with latent.quantized():
        torch.testing.assert_close(module.weight, quantized)
        module.zero_grad()
        F.mse_loss(module(inputs), targets).backward()
        latent.end_step()
    # The derivative by the logarithm of a step is the step times that by the step.
    expected = (step.grad * step)[:, 0]
    torch.testing.assert_close(latent.steps._gradients["weight"], expected, rtol=1e-4, atol=1e-6)


def trained(learns, grid, steps=200, scope="row"):
    """The loss of the quantized weights after a regression whose rows differ in size by 30."""
    module, inputs, targets = regression()
    sizes = torch.logspace(-1, 0.5, 8)
    with torch.no_grad():
        module.weight *= sizes[:, None]
    # Errors are relative to the size of the row.
    settings = StepSettings(learn_steps=LearnedSteps(0.05, scope) if learns else None)
    latent = LatentWeights(module, Plan(Rule("*", Grid(grid, trellis=0, rate_weight=0))), settings=settings)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def loss():
        return F.mse_loss(module(inputs) / sizes, targets)

    for step in range(steps):
        latent.begin_step(step, steps)
        optimizer.zero_grad()
        with latent.quantized():
            loss().backward()
            latent.end_step()
        latent.train_steps(optimizer)
        optimizer.step()
    with latent.quantized(), torch.no_grad():
        return float(loss()), latent


def test_learned_steps_go_where_the_loss_needs_them_in_a_file_of_about_the_same_size():
    fixed, equal = trained(False, 0.25)
    by_row, latent = trained(True, 0.25)
    assert by_row < 0.2 * fixed
    exponents = latent.guided.guidance["weight"].exponents
    assert exponents.tolist() == sorted(exponents.tolist())  # small rows get small steps
    assert exponents[-1] - exponents[0] == pytest.approx(160, abs=20)  # rows differ by 5 octaves
    assert abs(float(exponents.float().mean())) < 1
    size = equal.guided.compress(equal.weights).nbytes
    assert latent.guided.compress(latent.weights).nbytes < 1.1 * size
    _, shared = trained(True, 0.25, scope="tensor")
    assert not shared.guided.guidance["weight"].exponents.any()  # the only tensor has the mean step


def test_steps_stay_within_what_a_file_holds():
    _, latent = trained(True, grid=100.0, steps=400)
    exponents = latent.guided.guidance["weight"].exponents
    assert int(exponents.max()) - int(exponents.min()) <= 255
    assert latent.guided.compress(latent.weights).nbytes > 0


def test_the_rate_makes_steps_larger():
    module, inputs, targets = regression(64, 64)
    latent = LatentWeights(module, Plan(Rule("*", GRID)), settings=LEARNED)
    penalty = RatePenalty(latent)
    size = penalty.measure()
    for _ in range(30):
        with latent.quantized():
            module.zero_grad()
            F.mse_loss(module(inputs), targets).backward()
            latent.end_step()
        penalty.add_gradients(10.0)
        latent.train_steps(torch.optim.SGD(module.parameters(), lr=0.1))
    assert int(latent.guided.guidance["weight"].exponents.min()) > 8  # a fifth
    assert penalty.measure() < 0.95 * size


def run(folder, *, steps=100, source=None, save=True, module=None, plan=PLAN, **options):
    module = module or Wider()
    callback = QuantizeDuringTraining(plan, learn_steps=LearnedSteps(0.03), **options)
    kept = ModelCheckpoint(folder, filename="{epoch}", save_on_train_epoch_end=True, save_top_k=-1)
    files = [CompressCheckpoint("trained", on_error="raise")] if save else []
    validated = {}

    def record(*_):
        if not module.training:
            validated.update({name: value.clone() for name, value in module.state_dict().items()})

    module.net.register_forward_pre_hook(record)
    trainer(folder, callback, kept, StopAfter(steps), *files).fit(module, ckpt_path=source)
    return module.state_dict(), callback.guided_plan, validated


def test_the_file_holds_what_was_validated(tmp_path):
    _, guided, validated = run(tmp_path)
    assert guided.guidance["net.2.weight"].exponents.any()
    found = load(tmp_path / "epoch=2.compressed.safetensors")
    for name, tensor in validated.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    for name, options in (("plain", {}), ("rate", {"target_bytes": 2500, "measure_every": 3})):
        with naming(name):
            whole, plan, _ = run(tmp_path / name / "whole", save=False, **options)
            run(tmp_path / name / "parts", steps=6, save=False, **options)
            source = tmp_path / name / "parts" / "epoch=0.ckpt"
            resumed, same, _ = run(tmp_path / name / "parts", source=source, save=False, **options)
            for key, tensor in whole.items():
                torch.testing.assert_close(resumed[key], tensor, rtol=0, atol=0)
            for key, guide in plan.guidance.items():
                assert torch.equal(same.guidance[key].exponents, guide.exponents)


def test_each_optimizer_trains_the_steps_of_its_own_weights(tmp_path):
    plan = Plan(Rule("*", GRID))
    _, guided, _ = run(tmp_path, save=False, module=TwoOptimizers(), plan=plan)
    trained = {name for name, guide in guided.guidance.items() if guide.exponents.any()}
    assert trained >= {"net.3.weight", "net.3.bias", "critic.weight", "critic.bias"}


def test_what_cannot_be_learned_is_refused(tmp_path):
    for settings, message in (
        ({"learn_steps": 1}, "expected True, False or LearnedSteps"),
        ({"learn_steps": "row"}, "expected True, False or LearnedSteps"),
    ):
        with naming(settings), pytest.raises(PlanError, match=message):
            QuantizeDuringTraining(PLAN, **settings)
    with pytest.raises(PlanError, match="learning_rate is 2"):
        LearnedSteps(2)
    with pytest.raises(PlanError, match="scope is 'column'"):
        LearnedSteps(scope="column")
    for method, message in (
        (Binary(), "needs a rule with Grid"),
        (Grid(0.1), "trellis=0"),
        (Grid(0.1, trellis=0, rate_weight=0, relative=True), "relative=False"),
    ):
        with naming(method), pytest.raises(PlanError, match=message):
            LatentWeights(Wider(), Plan(Rule("*", method)), settings=LEARNED)
    state = LatentWeights(regression()[0], Plan(Rule("*", GRID)), settings=LEARNED).steps.state_dict()
    with pytest.raises(TrainingError, match=r"other tensors.*net\.0\.weight"):
        LatentWeights(Wider(), PLAN, settings=LEARNED).steps.load_state_dict(state)
    with pytest.raises(CallbackError, match="leave background out"):
        trainer(
            tmp_path, QuantizeDuringTraining(PLAN, learn_steps=True), CompressCheckpoint("trained", background="wait")
        ).fit(Wider())


def test_a_plan_whose_steps_stay_is_pointed_out(tmp_path, caplog):
    trainer(tmp_path, QuantizeDuringTraining(PLAN, learn_steps=True), CompressCheckpoint(PLAN), max_epochs=1).fit(
        Wider()
    )
    assert "Write CompressCheckpoint('trained')" in caplog.text
