"""Which tensors are kept exactly as constants: by their module, and in a bare state dict by names and values."""

from __future__ import annotations

import math

import pytest
import torch
from each_case import naming
from torch import nn
from torch.nn.utils import parametrizations, prune

from lightning_compress.weights import Weights, exact_reason


def reasons(weights):
    return {weight.name: weight.reason for weight in weights if weight.reason is not None}


class Diffusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
        self.table = nn.Parameter(torch.arange(12.0).reshape(3, 4))
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.register_buffer("odd", torch.randn(5, 5))
        self.register_buffer("seen", torch.tensor(12345.0))
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("hidden", torch.randn(3), persistent=False)


BUFFERS = {
    "net.1.running_mean": "buffer",
    "net.1.running_var": "buffer",
    "odd": "buffer",
    "seen": "buffer",
    "temperature": "single number",
}


class Compiled(nn.Module):
    """Holds the module as ``torch.compile`` does, without its import."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module


WRAPPERS = {
    "none": lambda module: module,
    "compile": lambda module: Compiled(module),
    "DataParallel": nn.DataParallel,
    "averaged": lambda module: torch.optim.swa_utils.AveragedModel(module),
}


def test_buffers_of_a_module_and_single_numbers_are_kept_exactly_under_every_wrapper():
    for case, wrap in WRAPPERS.items():
        with naming(case):
            found = reasons(Weights.from_module(wrap(Diffusion())))
            stripped = {name.removeprefix("module.").removeprefix("_orig_mod."): why for name, why in found.items()}
            assert stripped == BUFFERS


def _pruned():
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    return module


def _buffer_of_a_parameter():
    module = nn.Linear(3, 3)
    module.register_buffer("view", module.weight.detach())
    return module


def _frozen(**tensors):
    module = nn.Linear(2, 2)
    for name, tensor in tensors.items():
        module.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    return module


NORM = {"1.running_mean": "buffer", "1.running_var": "buffer"}
MODULES = {
    "a pruned weight is a parameter": (_pruned, NORM),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(3, 2)), {}),
    "old weight norm": (lambda: nn.utils.weight_norm(nn.Linear(3, 2)), {}),
    "spectral norm": (
        lambda: parametrizations.spectral_norm(nn.Linear(3, 2)),
        {"parametrizations.weight.0._u": "buffer", "parametrizations.weight.0._v": "buffer"},
    ),
    "old spectral norm": (
        lambda: nn.utils.spectral_norm(nn.Linear(3, 2)),
        {"weight_u": "buffer", "weight_v": "buffer"},
    ),
    "a buffer that is a parameter": (_buffer_of_a_parameter, {}),
    "a frozen backbone": (lambda: nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)).requires_grad_(False), {}),
    "frozen constants": (
        lambda: _frozen(ids=torch.arange(10.0), base=torch.randn(4, 4), scale=torch.tensor(0.5)),
        {"ids": "monotone table", "scale": "single number"},
    ),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_what_a_module_says_of_its_tensors():
    torch.manual_seed(0)
    for case, (make, expected) in MODULES.items():
        with naming(case):
            assert reasons(Weights.from_module(make())) == expected


def sinusoids(positions, size, *, apart=False):
    angle = torch.arange(float(positions))[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    return torch.cat([angle.sin(), angle.cos()], 1) if apart else torch.stack([angle.sin(), angle.cos()], 2).flatten(1)


BETAS = torch.linspace(1e-4, 0.02, 50)
RANDOM = torch.linspace(0, 7, 64).sin() * 0.3  # in no order, never whole
CONSTANTS = {
    "norm.running_mean": (RANDOM, "known constant: running_mean"),
    "norm.running_var": (RANDOM, "known constant: running_var"),
    "model.betas": (RANDOM, "known constant: betas"),
    "model.alphas_cumprod_prev": (RANDOM, "known constant: alphas_cumprod_prev"),
    "sqrt_one_minus_alphas_cumprod": (RANDOM, "known constant: sqrt_one_minus_alphas_cumprod"),
    "sqrt_recipm1_alphas_cumprod": (RANDOM, "known constant: sqrt_recipm1_alphas_cumprod"),
    "posterior_log_variance_clipped": (RANDOM, "known constant: posterior_log_variance_clipped"),
    "posterior_mean_coef1": (RANDOM, "known constant: posterior_mean_coef1"),
    "layers.0.rotary_emb.inv_freq": (RANDOM, "known constant: inv_freq"),
    "_orig_mod.rope.anything": (RANDOM, "known constant: anything"),
    "attention.freqs_cos": (RANDOM, "known constant: freqs_cos"),
    "attention.cos_cached": (RANDOM.reshape(8, 8), "known constant: cos_cached"),
    "_pixel_mean": (RANDOM[:3].reshape(3, 1, 1), "known constant: pixel_mean"),
    "normalize.std": (RANDOM[:3], "known constant: std"),
    "criterion.weight": (RANDOM[:5], "known constant: class weights"),
    "focal_loss.class_weights": (RANDOM[:5], "known constant: class_weights"),
    "bce.pos_weight": (RANDOM[:1], "known constant: pos_weight"),
    "temperature": (RANDOM[5:6], "known constant: temperature"),
    "vq.cluster_size": (RANDOM, "known constant: cluster_size"),
    "attn_mask": (torch.tensor([0.0, -100.0]).repeat(4, 4), "known constant: attn_mask"),
    "relative_coords_table": (RANDOM.reshape(1, 8, 8), "known constant: relative_coords_table"),
    "conv.parametrizations.weight.0._u": (RANDOM, "known constant: u"),
    "step": (torch.tensor(17.5), "single number"),
    "logit_scale": (torch.tensor(2.6593), "single number"),
    "seen": (torch.tensor(3.0, dtype=torch.bfloat16), "single number"),
    "schedule": (BETAS, "monotone table"),
    "falling": ((1 - BETAS).cumprod(0).half(), "monotone table"),
    "slopes": (2.0 ** -torch.arange(1.0, 9.0), "monotone table"),
    "positions": (torch.arange(512.0)[None], "monotone table"),
    "frequencies.column": (BETAS[:, None], "monotone table"),
    "pe": (sinusoids(40, 15 + 1)[None, :, :15], "known constant: pe"),
    "positional_encoding": (sinusoids(40, 16)[None], "known constant: positional_encoding"),
    "encoder.embed_positions.weight": (sinusoids(40, 16, apart=True), "sinusoidal table"),
    "places": (sinusoids(40, 16).half()[:, None], "sinusoidal table"),
    "attn.bias": (torch.ones(1, 1, 16, 16).tril(), "causal mask"),
    "causal": (torch.full((16, 16), -math.inf).triu(1), "causal mask"),
    "ids": (torch.tensor([[3.0, 1.0, 4.0, 1.0, 5.0]]), "whole numbers"),
    "dfl.conv.weight": (torch.arange(16.0).roll(3).reshape(1, 16, 1, 1), "whole numbers"),
    "sizes": (torch.tensor([640.0, 480.0]), "whole numbers"),
    "sparse.ids": (torch.zeros(3000).index_fill(0, torch.tensor([2990]), 1e6), "whole numbers"),
}


def test_constants_of_a_bare_state_dict():
    for name, (tensor, expected) in CONSTANTS.items():
        with naming(name):
            assert exact_reason(name, tensor) == expected


def test_the_vectors_of_spectral_norm_are_constants_and_those_of_weight_norm_are_weights():
    torch.manual_seed(0)
    spectral = {f"conv.weight_{end}": torch.randn(8) for end in ("orig", "u", "v")}
    assert reasons(Weights.from_state_dict(spectral)) == {
        "conv.weight_u": "known constant: weight_u",
        "conv.weight_v": "known constant: weight_v",
    }
    weight_norm = {"conv.weight_g": torch.randn(8), "conv.weight_v": torch.randn(8, 8)}
    assert reasons(Weights.from_state_dict(weight_norm)) == {}


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


WEIGHTS = {
    "net.weight": random(20, 20),
    "net.bias": random(20),
    "a ternary.weight": random(20, 20).sign() * (random(20, 20).abs() > 0.5),
    "a binary.weight": random(20, 20).sign(),
    "a scaled ternary.weight": random(20, 20).sign() * 0.37,
    "a pruned.weight": random(20, 20) * (random(20, 20) > 1),
    "norm.weight": torch.ones(20),
    "zero.bias": torch.zeros(20),
    "forget gate.bias_hh_l0": torch.cat([torch.zeros(20), torch.ones(20)]),
    "short.bias": torch.tensor([0.1, 0.2, 0.3]),
    "late.bias": torch.cat([torch.zeros(30), torch.tensor([0.1, 0.2])]),
    "identity.weight": torch.eye(20),
    "loss.W": random(3, 4),
    "loss.weight": random(3, 4),
    "arcface.weight": random(30),
    "positions": random(20, 16),
    "pos_embed": random(1, 20, 16) * 0.02,
    "positional_encoding": random(1, 20, 16) * 0.02,
    "pe": random(1, 20, 16) * 0.02,
    "encoder.mask_token": random(1, 1, 16),
    "gate_mask": random(20, 20),
    "heads.temperature": random(8, 1, 1),
    "variational.log_alpha": random(300, 300),
    "bayesian.weight_mean": random(20, 20),
    "large.mean": random(300, 300),
    "relative_attention_bias.weight": random(32, 8),
    "first.of.many": torch.tensor([1.0]),
    "empty": torch.zeros(0),
    "integers": torch.arange(20),
    "nan": torch.full((20,), math.nan),
    "eight bits": random(20, 20).to(torch.float8_e4m3fn),
}


def test_ordinary_weights_of_a_bare_state_dict_are_no_constants():
    for name, tensor in WEIGHTS.items():
        for dtype in (
            (torch.float32, torch.float16, torch.bfloat16) if tensor.dtype == torch.float32 else (tensor.dtype,)
        ):
            with naming((name, dtype)):
                assert exact_reason(name, tensor.to(dtype)) is None


def test_parameters_of_fresh_modules_are_no_constants_in_their_state_dict():
    torch.manual_seed(0)
    module = nn.ModuleList(
        [
            nn.Transformer(16, 2, 1, 1, 32, batch_first=True),
            nn.LSTM(5, 7, 2, bidirectional=True, proj_size=3),
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ConvTranspose1d(8, 2, 3), nn.PReLU(9)),
            nn.Bilinear(3, 4, 5),
            nn.Embedding(30, 8, padding_idx=0),
            nn.MultiheadAttention(8, 2, add_bias_kv=True, kdim=3, vdim=5),
        ]
    )
    assert reasons(Weights.from_state_dict(module.state_dict())) == {}


def test_a_tensor_expanded_from_one_value_is_not_copied_to_be_examined():
    assert exact_reason("backbone.weight", torch.zeros(()).expand(1 << 20, 1 << 20)) is None
