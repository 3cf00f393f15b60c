"""The adapters of PEFT alone: compressed without their base model, and loaded back into it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_compress import compress, expand, load

peft = pytest.importorskip("peft", reason="peft is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of libraries


def adapted(rank: int = 4, seed: int = 0) -> nn.Module:
    """A base model that is always the same, with adapters of this seed."""
    torch.manual_seed(7)
    base = nn.Sequential(nn.Linear(48, 64), nn.Tanh(), nn.Linear(64, 48), nn.LayerNorm(48))
    torch.manual_seed(seed)
    model = peft.get_peft_model(base, peft.LoraConfig(r=rank, target_modules=["0", "2"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    return model.eval()


def frozen(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}


def test_adapters_come_back_and_the_base_is_untouched(tmp_path: Path) -> None:
    model, fresh, path = adapted(), adapted(seed=1), tmp_path / "adapter.compressed.safetensors"
    state = peft.get_peft_model_state_dict(model)
    nbytes = compress(state, "safe").save(path)
    assert nbytes < sum(tensor.nbytes for tensor in state.values())
    assert load(path).keys() == state.keys()
    before, inputs = frozen(fresh), torch.randn(5, 48)
    assert (fresh(inputs) - model(inputs)).abs().max() > 0.5
    peft.set_peft_model_state_dict(fresh, load(path))
    assert (fresh(inputs) - model(inputs)).abs().max() < 0.05
    assert all(torch.equal(weight, before[name]) for name, weight in frozen(fresh).items())
    assert len(before) == 6


def test_an_expanded_file_is_an_adapter_of_peft(tmp_path: Path) -> None:
    model, folder = adapted(), tmp_path / "adapter"
    model.save_pretrained(folder)
    (folder / "adapter_model.safetensors").unlink()
    compress(peft.get_peft_model_state_dict(model), "exact").save(tmp_path / "adapter.compressed.safetensors")
    expand(tmp_path / "adapter.compressed.safetensors", folder / "adapter_model.safetensors")
    fresh = peft.PeftModel.from_pretrained(adapted(seed=2).unload(), folder).eval()
    inputs = torch.randn(5, 48)
    assert torch.equal(fresh(inputs), model(inputs))


def test_an_adapter_of_another_rank_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "adapter.compressed.safetensors"
    compress(peft.get_peft_model_state_dict(adapted(rank=8)), "safe").save(path)
    with pytest.raises(RuntimeError, match=r"size mismatch for .*lora_A"):
        peft.set_peft_model_state_dict(adapted(rank=4), load(path))
