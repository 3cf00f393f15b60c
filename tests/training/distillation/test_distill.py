"""The student learns from the teacher, whatever the teacher is made of, and from the same teacher after a resume."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, trainer
from torch import nn
from torch.nn import functional as F

from lightning_compress import Distill, Plan, Raw, Rule, compress
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.training import hidden_state_loss, output_tensor, soft_target_loss


class Classes(Small):
    """Classification without dropout, in one order of the data."""

    def __init__(self, width: int = 8) -> None:
        super().__init__(width)
        self.net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), (batch[1][:, 0] > 0).long())

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))

    def train_dataloader(self):
        return self.val_dataloader()


def fitted(tmp_path, *callbacks, seed=0, **options):
    module = Classes()
    torch.manual_seed(seed)
    module.net.apply(lambda part: part.reset_parameters() if hasattr(part, "reset_parameters") else None)
    source = options.pop("ckpt_path", None)
    trainer(tmp_path, *callbacks, **options).fit(module, ckpt_path=source)
    return module


def distance(module, teacher):
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return soft_target_loss(module.net(inputs), teacher.net(inputs)).item()


def test_losses_are_those_of_their_definitions():
    student, teacher = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    mask = torch.rand(2, 5) < 0.5
    first, second = (student[mask] / 2).softmax(-1), (teacher[mask] / 2).softmax(-1)
    expected = 4 * (second * (second / first).log()).sum(-1).mean()
    torch.testing.assert_close(soft_target_loss(student, teacher, 2.0, mask), expected)
    assert soft_target_loss(student, student).item() == pytest.approx(0, abs=1e-6)
    assert hidden_state_loss(teacher * 1.5, teacher).item() == pytest.approx(0.25)
    for loss in (soft_target_loss, hidden_state_loss):
        with pytest.raises(TrainingError, match="equal width"):
            loss(student, teacher[..., :3])
    with pytest.raises(TrainingError, match="expected a tensor"):
        output_tensor({"scores": student})


def test_the_student_comes_near_its_teacher_from_any_source(tmp_path):
    teacher = fitted(tmp_path / "teacher", ModelCheckpoint(tmp_path, filename="teacher"), max_epochs=6)
    compress(teacher, Plan(Rule("*", Raw()))).save(tmp_path / "teacher.safetensors")
    alone = distance(fitted(tmp_path / "alone", seed=1, max_epochs=6), teacher)
    results = []
    for source in (teacher.net, tmp_path / "teacher.ckpt", tmp_path / "teacher.safetensors"):
        with naming(source):
            callback = Distill("net", teacher=source, share=1.0)
            results.append(distance(fitted(tmp_path / "student", callback, seed=1, max_epochs=6), teacher))
    assert results[0] == results[1] == results[2] < 0.6 * alone


def test_its_own_weights_hold_a_module_where_it_was(tmp_path):
    start, free = fitted(tmp_path, max_epochs=1), fitted(tmp_path, max_epochs=6)
    before = fitted(tmp_path, max_epochs=0)
    held = fitted(tmp_path, Distill("net", share=0.95, hidden={"0": "0"}), max_epochs=6)
    assert distance(held, before) < 0.5 * distance(free, before)
    assert distance(start, before) > 0


def test_scale_and_accumulation_do_not_change_the_mixture(tmp_path):
    """With share 1 and its own weights as teacher, the gradient is 0: nothing is left of the loss."""
    before = fitted(tmp_path, max_epochs=0).state_dict()
    for options in ({}, {"accumulate_grad_batches": 2}, {"precision": "bf16-true"}):
        with naming(options):
            after = fitted(tmp_path, Distill("net", share=1.0), max_steps=1, **options).state_dict()
            for name, tensor in before.items():
                torch.testing.assert_close(after[name].float(), tensor, rtol=0, atol=0.0101)


def test_a_resumed_run_has_the_same_teacher(tmp_path):
    def run(part, epochs, source=None):
        save = ModelCheckpoint(tmp_path / part, filename="{epoch}", save_top_k=-1)
        return fitted(tmp_path / part, Distill("net", share=0.5), save, max_epochs=epochs, ckpt_path=source)

    whole = run("whole", 3).state_dict()
    run("parts", 1)
    resumed = run("parts", 3, tmp_path / "parts" / "epoch=0.ckpt").state_dict()
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0)


def test_bad_input_is_refused(tmp_path):
    for arguments, message in (
        ({"share": 2}, "0 to 1"),
        ({"temperature": 0}, "above 0"),
        ({"teacher": 3}, "expected a module"),
        ({"mask": 3}, "mask"),
    ):
        with naming(arguments), pytest.raises(CallbackError, match=message):
            Distill("net", **arguments)
    for callback, message in (
        (Distill("nett"), "did you mean 'net'"),
        (Distill(), "does not call"),
        (Distill("net", hidden={"9": "0"}), "no module '9'"),
    ):
        with naming(message), pytest.raises(CallbackError, match=message):
            fitted(tmp_path, callback, max_epochs=1)
    wide = nn.Sequential(nn.Linear(4, 9))
    with pytest.raises(TrainingError, match="equal width"):
        fitted(tmp_path, Distill("net", teacher=wide), max_epochs=1)
    compress(Small(), "half").save(tmp_path / "other.safetensors")
    with pytest.raises(CallbackError, match="do not fit"):
        fitted(tmp_path, Distill("net", teacher=tmp_path / "other.safetensors"), max_epochs=1)
