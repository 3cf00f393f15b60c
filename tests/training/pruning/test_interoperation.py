"""Masks of ``torch.nn.utils.prune`` and ``ModelPruning``, and weights that torchao quantizes, are stored."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint, ModelPruning
from small_trainings import Small, trainer
from torch import nn
from torch.nn.utils import prune

from lightning_compress import CompressCheckpoint, Grid, Plan, Raw, Rule, compress, load, load_from_checkpoint
from lightning_compress.errors import TrainingError, WeightsError
from lightning_compress.training import join_quantized, shrink, split_quantized, structures_of


def effective(module):
    """The weights that the module computes with."""
    return {name: layer.weight.detach() for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}


def test_model_pruning_is_stored_in_either_order_permanent_or_not(tmp_path):
    for order, permanent, method in product((1, -1), (True, False), ("l1_unstructured", "ln_structured")):
        with naming((order, permanent, method)):
            folder, module = tmp_path / f"{order}{permanent}{method}", Small(width=16)
            options = {"pruning_dim": 0, "pruning_norm": 2} if method == "ln_structured" else {}
            pruning = ModelPruning(
                method,
                parameters_to_prune=[(module.net[0], "weight")],
                amount=0.5,
                use_global_unstructured=False,
                apply_pruning=lambda epoch: epoch == 0,
                make_pruning_permanent=permanent,
                **options,
            )
            callbacks = [pruning, CompressCheckpoint("exact", on_error="raise")][::order]
            trainer(folder, *callbacks, ModelCheckpoint(folder, filename="last")).fit(module)
            expected = effective(module)["net.0"]
            assert (expected == 0).float().mean() == 0.5
            stored = load(folder / "last.compressed.safetensors")
            assert set(stored) == set(Small(width=16).state_dict())
            torch.testing.assert_close(stored["net.0.weight"], expected, rtol=0, atol=0)
            loaded = load_from_checkpoint(Small, folder / "last.compressed.safetensors")
            torch.testing.assert_close(loaded.net[0].weight, expected, rtol=0, atol=0)


def test_masks_of_torch_are_stored_as_zeros_and_cost_few_bytes():
    torch.manual_seed(0)
    plan = Plan(Rule("*", Grid(0.01, trellis=0, rate_weight=0)))
    for name, apply, positions in (
        ("unstructured", lambda layer: prune.l1_unstructured(layer, "weight", 0.75), 128 * 64 * 0.82 / 8),
        ("structured", lambda layer: prune.ln_structured(layer, "weight", 0.75, n=2, dim=0), 0),
    ):
        with naming(name):
            module = nn.Sequential(nn.Linear(64, 128, bias=False))
            apply(module[0])
            archive = compress(module, plan)
            zeros = archive.restore()["0.weight"] == 0
            assert zeros[module[0].weight == 0].all()
            kept = {"0.weight": module[0].weight[module[0].weight != 0].detach()}
            assert archive.nbytes < compress(kept, plan).nbytes + 1.1 * positions + 200


def test_units_that_torch_pruned_are_removed_when_the_masks_are_made_permanent():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    prune.ln_structured(module[2], "weight", 0.5, n=2, dim=1)
    inputs = torch.randn(4, 6)
    expected = module(inputs)
    assert structures_of(module) == []
    prune.remove(module[2], "weight")
    assert shrink(module)[0].weight.shape == (4, 6)
    torch.testing.assert_close(module(inputs), expected)
    restored = compress(module, Plan(Rule("*", Raw()))).restore()
    assert restored["2.weight"].shape == (3, 4)


class Parts(torch.Tensor):
    """A tensor made of whole numbers and scales, as those of torchao."""

    @staticmethod
    def __new__(cls, qdata, scale, zero_point=None):
        return torch.Tensor._make_wrapper_subclass(cls, qdata.shape, dtype=scale.dtype)

    def __init__(self, qdata, scale, zero_point=None):
        self.qdata, self.scale, self.zero_point = qdata, scale, zero_point

    def __tensor_flatten__(self):
        return ["qdata", "scale"], None

    @staticmethod
    def __tensor_unflatten__(parts, _, size, stride):
        return Parts(**parts)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError(function)

    def dequantize(self):
        zero = 0 if self.zero_point is None else self.zero_point.float()[..., None]
        return ((self.qdata.float().reshape(*self.scale.shape, -1) - zero) * self.scale[..., None]).flatten(1)


def quantized(rows=64, columns=128, size=32, *, zero_point=None):
    torch.manual_seed(0)
    module = nn.Linear(columns, rows)
    whole = torch.randint(-8, 8, (rows, columns), dtype=torch.int8)
    module.weight = nn.Parameter(Parts(whole, torch.rand(rows, columns // size), zero_point), requires_grad=False)
    return nn.Sequential(module)


def test_quantized_weights_are_stored_by_their_values_or_smaller_by_their_parts():
    for zero_point in (None, torch.ones(64, 4, dtype=torch.int8)):
        module = quantized(zero_point=zero_point)
        values = module[0].weight.dequantize()
        whole = compress(module, Plan(Rule("*", Raw())))
        torch.testing.assert_close(whole.restore()["0.weight"], values, rtol=0, atol=0)
        parts = compress(split_quantized(module), Plan(Rule("*", Raw())))
        joined = join_quantized(parts.restore())
        assert list(joined) == ["0.weight", "0.bias"]
        torch.testing.assert_close(joined["0.weight"], values, rtol=0, atol=0)
        torch.testing.assert_close(joined["0.bias"], module[0].bias.detach(), rtol=0, atol=0)
        assert parts.nbytes < 0.45 * whole.nbytes


def test_what_is_not_quantized_or_has_no_values_is_refused():
    with pytest.raises(TrainingError, match="Sequential has no weight that torchao has quantized"):
        split_quantized(nn.Sequential(nn.Linear(2, 2)))
    prepared = nn.Sequential(nn.Linear(2, 2))
    prepared[0].weight_fake_quantizer = nn.Identity()
    with pytest.raises(TrainingError, match=r"'0' is prepared .* step='convert'"):
        split_quantized(prepared)

    class Silent(Parts):
        def dequantize(self):
            raise NotImplementedError

    silent = Silent(torch.ones(4, 4, dtype=torch.int8), torch.ones(4, 1))
    with pytest.raises(WeightsError, match=r"'w' is a Silent, .* does not give its values"):
        compress({"w": silent}, Plan(Rule("*", Raw())))


@pytest.mark.filterwarnings("ignore")
def test_weights_that_torchao_trained_are_stored_by_its_numbers(tmp_path):
    pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.quantization import IntxWeightOnlyConfig, PerGroup, quantize_
    from torchao.quantization.qat import QATConfig

    torch.manual_seed(0)
    config = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    quantize_(module, QATConfig(config, step="prepare"))
    inputs = torch.randn(100, 64)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(20):
        loss = (module(inputs) - inputs[:, :8]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with pytest.raises(TrainingError, match="step='convert'"):
        split_quantized(module)
    trained = module(inputs)
    quantize_(module, QATConfig(config, step="convert"))
    compress(split_quantized(module), "exact").save(tmp_path / "parts.safetensors")
    fresh = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    fresh.load_state_dict(join_quantized(load(tmp_path / "parts.safetensors")))
    torch.testing.assert_close(fresh(inputs), trained)
    assert (tmp_path / "parts.safetensors").stat().st_size < 72 * 64 * 7 / 8
