"""``trainer.validate / test / predict(ckpt_path=…)`` on a compressed file, and ``fit`` that refuses it."""

from __future__ import annotations

import shutil

import pytest
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from small_trainings import Small, Tied, Vision, trainer
from torchmetrics import MeanMetric

from lightning_compress import load
from lightning_compress.callbacks import CompressCheckpoint
from lightning_compress.errors import CallbackError, ChecksumError, ForeignFileError, MismatchError


@pytest.fixture
def trained(tmp_path):
    """A folder with ``epoch=0.ckpt`` and its compressed file."""
    _fit(tmp_path, Small())
    return tmp_path


def _fit(folder, module):
    checkpoint = ModelCheckpoint(folder, filename="{epoch}")
    trainer(folder, CompressCheckpoint("paper-rnn"), checkpoint, max_epochs=1).fit(module)


def _evaluate(folder, *callbacks):
    return trainer(folder, CompressCheckpoint("half"), *callbacks, enable_checkpointing=False)


@pytest.mark.parametrize("as_path", [str, lambda path: path])
@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_the_file_is_taken_where_a_checkpoint_is(trained, verb, as_path):
    file, module = trained / "epoch=0.compressed.safetensors", Small(width=8)
    torch.nn.init.zeros_(module.net[0].weight)
    run = _evaluate(trained)
    options = {} if verb == "predict" else {"verbose": False}
    getattr(run, verb)(module, ckpt_path=as_path(file), **options)
    for name, tensor in load(file).items():
        assert torch.equal(module.state_dict()[name], tensor)


def test_its_result_is_that_of_its_weights_not_of_the_checkpoints(trained):
    run = _evaluate(trained)
    (exact,) = run.test(Small(), ckpt_path=trained / "epoch=0.ckpt", verbose=False)
    (lossy,) = run.test(Small(), ckpt_path=trained / "epoch=0.compressed.safetensors", verbose=False)
    by_hand = Small()
    by_hand.load_state_dict(load(trained / "epoch=0.compressed.safetensors"))
    (expected,) = run.test(by_hand, verbose=False)
    assert lossy == expected
    assert lossy != exact


@pytest.mark.parametrize("module", [Vision, Tied])
def test_buffers_and_ties_arrive(tmp_path, module):
    _fit(tmp_path, module())
    fresh = module()
    _evaluate(tmp_path).validate(fresh, ckpt_path=tmp_path / "epoch=0.compressed.safetensors", verbose=False)
    stored = load(tmp_path / "epoch=0.compressed.safetensors")
    assert all(torch.equal(tensor, stored[name]) for name, tensor in fresh.state_dict().items())


class Metered(Small):
    """Its metric's state is saved, and left out of the compressed file."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = MeanMetric()
        self.meter.persistent(True)
        self.teacher = torch.nn.Linear(2, 2)

    def compression_exclude(self):
        return ["teacher.*"]


def test_what_was_left_out_keeps_the_live_value(tmp_path):
    _fit(tmp_path, Metered())
    fresh = Metered()
    teacher = {name: tensor.clone() for name, tensor in fresh.teacher.state_dict().items()}
    _evaluate(tmp_path).test(fresh, ckpt_path=tmp_path / "epoch=0.compressed.safetensors", verbose=False)
    for name, tensor in fresh.teacher.state_dict().items():
        assert torch.equal(tensor, teacher[name])
    assert torch.equal(fresh.net[0].weight, load(tmp_path / "epoch=0.compressed.safetensors")["net.0.weight"])


def test_the_modules_hook_sees_weights_and_hyper_parameters_and_may_change_them(trained):
    seen = {}

    class Hooked(Small):
        def on_load_checkpoint(self, checkpoint):
            seen.update(checkpoint["hyper_parameters"])
            checkpoint["state_dict"]["net.0.bias"] = torch.full((8,), 2.0)

    module = Hooked()
    _evaluate(trained).test(module, ckpt_path=trained / "epoch=0.compressed.safetensors", verbose=False)
    assert seen["width"] == 8
    assert torch.equal(module.net[0].bias, torch.full((8,), 2.0))


def test_averaging_callbacks_do_not_trip_over_it(trained):
    module = Small()
    run = _evaluate(trained, EMAWeightAveraging())
    run.test(module, ckpt_path=trained / "epoch=0.compressed.safetensors", verbose=False)
    assert torch.equal(module.net[0].weight, load(trained / "epoch=0.compressed.safetensors")["net.0.weight"])


def test_another_module_is_refused_with_what_differs(trained):
    with pytest.raises(MismatchError) as caught:
        _evaluate(trained).test(Small(width=3), ckpt_path=trained / "epoch=0.compressed.safetensors", verbose=False)
    assert "net.0.weight" in str(caught.value)
    assert "[8, 4], module: [3, 4]" in str(caught.value)
    assert "epoch=0.compressed.safetensors" in str(caught.value)


def test_a_module_that_is_not_strict_takes_what_it_knows(trained):
    class Extended(Small):
        def __init__(self) -> None:
            super().__init__()
            self.extra = torch.nn.Linear(2, 2)
            self.strict_loading = False

    _evaluate(trained).test(Extended(), ckpt_path=trained / "epoch=0.compressed.safetensors", verbose=False)
    strict = Extended()
    strict.strict_loading = True
    with pytest.raises(MismatchError, match=r"not in the file: extra\.weight"):
        _evaluate(trained).test(strict, ckpt_path=trained / "epoch=0.compressed.safetensors", verbose=False)


def test_fit_is_refused_and_the_error_names_the_checkpoint_to_resume_from(trained):
    run = _evaluate(trained)
    with pytest.raises(CallbackError, match=r"fit\(ckpt_path='.*epoch=0\.ckpt'\)"):
        run.fit(Small(), ckpt_path=trained / "epoch=0.compressed.safetensors")
    assert run.global_step == 0
    (trained / "epoch=0.ckpt").unlink()
    with pytest.raises(CallbackError, match=r"epoch=0\.ckpt is gone.*load_from_checkpoint"):
        run.fit(Small(), ckpt_path=trained / "epoch=0.compressed.safetensors")


def test_the_checkpoint_it_names_is_the_one_that_resumes(trained):
    run = trainer(trained, CompressCheckpoint("half"), max_epochs=2, enable_checkpointing=False)
    run.fit(Small(), ckpt_path=trained / "epoch=0.ckpt")
    assert run.global_step == 8


def test_a_name_of_the_users_choice_is_taken_too(trained):
    renamed = trained / "release"
    shutil.copy(trained / "epoch=0.compressed.safetensors", renamed)
    module = Small()
    _evaluate(trained).test(module, ckpt_path=renamed, verbose=False)
    assert torch.equal(module.net[0].weight, load(renamed)["net.0.weight"])


def test_a_file_that_is_none_of_ours_is_named(trained):
    foreign = trained / "foreign.compressed.safetensors"
    foreign.write_bytes(b"something else entirely")
    with pytest.raises(ForeignFileError, match=r"foreign\.compressed.safetensors"):
        _evaluate(trained).test(Small(), ckpt_path=foreign, verbose=False)
    with pytest.raises(FileNotFoundError):
        _evaluate(trained).test(Small(), ckpt_path=trained / "missing.compressed.safetensors", verbose=False)


def test_a_damaged_file_is_refused_and_the_module_untouched(trained):
    file = trained / "epoch=0.compressed.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    module = Small()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ChecksumError):
        _evaluate(trained).test(module, ckpt_path=file, verbose=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
