"""Checkpoints of trainings without Lightning: the state dict is found, or the choice is explained."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from torch import nn

from lightning_compress import compress
from lightning_compress.errors import WeightsError
from lightning_compress.weights import Weights


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


NET = network()
STATE = NET.state_dict()
OTHER = {"x.weight": torch.full((2, 2), 7.0)}


def optimizer_state(kind=torch.optim.Adam):
    module = network()
    optimizer = kind(module.parameters(), lr=0.1)
    module(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


OPTIMIZER = optimizer_state(lambda parameters, lr: torch.optim.Adam(list(parameters)[:1], lr))
SCALER = {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0}
TRAINING = {
    "step": 3,
    "epoch": torch.tensor(2),
    "best": torch.tensor(0.5),
    "optimizer": OPTIMIZER,
    "lr_scheduler": {"base_lrs": [0.1], "last_epoch": 3},
    "scaler": SCALER,
    "rng_state": torch.zeros(16, dtype=torch.uint8),
    "rng": {"torch": torch.zeros(16, dtype=torch.uint8), "cuda": [torch.zeros(16, dtype=torch.uint8)]},
    "metrics": {"loss": torch.tensor(0.3), "curve": torch.ones(5)},
    "criterion": {"weight": torch.ones(7)},
    "hyper_parameters": {"class_weights": torch.ones(3)},
}
KEYS = (
    "state_dict", "model", "model_state", "model_state_dict", "net", "network", "weights", "params", "ema",
    "ema_state_dict", "state_dict_ema", "model_ema", "module", "generator", "discriminator", "my own key", "a.b",
)  # fmt: skip


class Config:
    """Needs code to be read."""


def saved(path, content):
    torch.save(content, path)
    return path


def expect(path, state=STATE, **options):
    weights = Weights.from_checkpoint(path, **options).state_dict()
    assert list(weights) == list(state)
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())


def test_the_only_state_dict_is_taken_and_named(tmp_path, caplog):
    for number, key in enumerate(KEYS):
        extra = {"config": Config()} if number % 2 else {}
        name = f"nested.{key}" if number % 3 == 1 else key
        content = {"nested": {key: STATE, "optim": OPTIMIZER}} if name != key else {key: STATE}
        with naming(name):
            caplog.clear()
            path = saved(tmp_path / "m.pt", {**TRAINING, **content, **extra})
            expect(path)
            if not number % 5:
                expect(path, key=name)
                caplog.records.pop()  # as before
            *messages, last = [record.getMessage() for record in caplog.records]
            assert last == f"{path}: skipped hyper-parameters that are not plain values: class_weights (torch.Tensor)"
            line = f"{path}: the weights are those of {name!r} (7 tensors, 136 bytes)"
            assert messages == ([] if name == "state_dict" else [line])


def test_other_optimizers_are_no_state_dicts(tmp_path):
    by_name = {"state": {"0.weight": {"exp_avg": torch.ones(3)}}, "param_groups": [{"params": ["0.weight"]}]}
    states = {
        "momentum": optimizer_state(lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9)),
        "by name": by_name,
        "moments": {"exp_avg": dict(STATE), "exp_avg_sq": dict(STATE)},
    }
    for case, state in states.items():
        for key in ("opt_g", "some_state"):
            with naming((case, key)):
                expect(saved(tmp_path / "m.pt", {"model": STATE, key: state, f"{key}s": [state]}))


def test_several_state_dicts_are_listed_and_chosen_by_key(tmp_path):
    content = {**TRAINING, "model": STATE, "ema": {"decay": 0.9, "shadow": OTHER}, "config": Config()}
    path = saved(tmp_path / "m.pt", content)
    with pytest.raises(WeightsError) as caught:
        Weights.from_checkpoint(path)
    assert str(caught.value) == (
        f"{path} holds several state dicts; choose one with --key or Weights.from_checkpoint(path, key=…): "
        "model (7 tensors, 136 bytes); ema.shadow (1 tensor, 16 bytes)"
    )
    expect(path, key="model")
    expect(path, OTHER, key="ema.shadow")
    for key in ("emma", "ema", "step", "epoch", "optimizer", "", "model."):
        with (
            naming(key),
            pytest.raises(WeightsError, match=r"holds no state dict under '.*'; choose one of model .*shadow"),
        ):
            Weights.from_checkpoint(path, key=key)


def test_several_state_dicts_of_other_shapes(tmp_path):
    cases = {
        "adversarial": {"generator": STATE, "discriminator": OTHER},
        "parts": {"model": {"encoder": STATE, "decoder": OTHER}},
        "parts of the state dict": {"state_dict": {"encoder": STATE, "decoder": OTHER}},
        "timm": {"state_dict": STATE, "state_dict_ema": OTHER},
    }
    for case, content in cases.items():
        with naming(case), pytest.raises(WeightsError, match="holds several state dicts; choose one"):
            Weights.from_checkpoint(saved(tmp_path / "m.pt", content))


def test_the_state_dict_of_lightning_needs_no_choice(tmp_path, caplog):
    """Lightning's averaging of weights stores a second state dict."""
    content = {"state_dict": STATE, "pytorch-lightning_version": "2.6.0", "current_model_state": OTHER}
    path = saved(tmp_path / "m.ckpt", {**content, "averaging_state": {"n_averaged": torch.tensor(3), **OTHER}})
    expect(path)
    expect(path, OTHER, key="current_model_state")
    for state in ({}, {"steps": torch.tensor(3)}):
        expect(saved(tmp_path / "m.ckpt", {**content, "state_dict": state}), state)
    assert caplog.records == []


def test_a_bare_state_dict_is_taken_whole(tmp_path):
    bare = {
        "scalar": {"a": torch.tensor(1)},
        "names of a training": {"optimizer": torch.ones(2), "model": torch.ones(3)},
    }
    for case, state in bare.items():
        with naming(case):
            expect(saved(tmp_path / "m.pt", state), state)
    with pytest.raises(WeightsError, match="holds no state dict under 'a'; it holds a "):
        Weights.from_checkpoint(saved(tmp_path / "m.pt", {"a": torch.ones(2)}), key="a")


def test_an_entry_that_is_not_a_tensor_is_named(tmp_path):
    for value in (3, "text", None, Config()):
        for content in ({"model": {**STATE, "bad": value}}, {**STATE, "bad": value}):
            with naming((value, list(content))), pytest.raises(WeightsError, match="'bad' is"):
                Weights.from_checkpoint(saved(tmp_path / "m.pt", content))


def test_whole_modules_are_refused(tmp_path):
    for content, where in (
        (NET, ""),
        ({"epoch": 1, "model": NET, "ema": None, "best": torch.tensor(1.0)}, " under 'model'"),
    ):
        with naming(where), pytest.raises(WeightsError) as caught:
            Weights.from_checkpoint(saved(tmp_path / "m.pt", content))
        assert str(caught.value) == (
            f"{tmp_path / 'm.pt'} holds a whole module{where} (torch.nn.modules.container.Sequential), "
            "and is not read, because that would run its code: load it where its code is, and save model.state_dict()"
        )
    expect(saved(tmp_path / "m.pt", {"model": NET, "ema": STATE}))


def test_a_file_without_weights_lists_what_it_holds(tmp_path):
    with pytest.raises(
        WeightsError, match=r"holds no state dict, but step \(int\), optimizer \(dict\), x \(.*Config\): "
    ):
        Weights.from_checkpoint(saved(tmp_path / "m.pt", {"step": 3, "optimizer": OPTIMIZER, "x": Config()}))


def test_names_from_the_file_stay_in_one_line(tmp_path, caplog):
    odd = "\x1b[31m\nmodel"
    path = saved(tmp_path / "m.pt", {odd: STATE, "ema": STATE})
    with pytest.raises(WeightsError, match=r"'\\x1b\[31m\\nmodel' \(7 tensors"):
        Weights.from_checkpoint(path)
    Weights.from_checkpoint(saved(path, {odd: STATE, "hyper_parameters": {odd: Config()}}))
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert len(caplog.records) == 2


def test_compress_takes_such_checkpoints(tmp_path):
    path = saved(tmp_path / "m.pt", {"model": STATE, "config": Config()})
    assert compress(path, "half").manifest.fingerprint == compress(STATE, "half").manifest.fingerprint


def test_the_command_line(tmp_path, run):
    path = saved(tmp_path / "m.pt", {"model": STATE, "ema": OTHER, "config": Config()})
    status, out, err = run("compress", path, tmp_path / "o.safetensors", "--plan", "half")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "model (7 tensors, 136 bytes); ema (1 tensor, 16 bytes)" in err
    status, _, err = run("compress", path, tmp_path / "o.safetensors", "--plan", "half", "--key", "ema")
    assert (status, err) == (0, "")
    arguments = (path, tmp_path / "o.safetensors", "-o", tmp_path / "p.safetensors", "--max-bytes", "99")
    status, _, err = run("retarget", *arguments, "--key", "emma")
    assert (status, err.count("\n")) == (1, 1)
    assert "holds no state dict under 'emma'; choose one of model" in err
    status, out, err = run(
        "compress", saved(path, {"net": STATE}), tmp_path / "p.safetensors", "--plan", "half", "--json"
    )
    assert (status, err) == (0, f"note: {path}: the weights are those of 'net' (7 tensors, 136 bytes)\n")
    assert out.startswith("{")
