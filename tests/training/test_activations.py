"""Inputs of modules have few values in training and evaluation, and their ranges are in checkpoint and file."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Ordered, Recurrent, Small, StopAfter, Vision, trainer
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_sequence

from lightning_compress import (
    CompressCheckpoint,
    GroupWise,
    Half,
    Plan,
    QuantizeActivations,
    QuantizeDuringTraining,
    Rule,
    load_from_checkpoint,
)
from lightning_compress.archive import Archive
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.training import QuantizedInputs

pytestmark = pytest.mark.usefixtures("quick_coding")
EIGHT_BITS = Plan(Rule("*weight*", GroupWise(8, 16)), Rule("*", Half(), optional=True))


def inputs_of(module):
    """The first argument of a module in its forward passes, after the hooks before."""
    seen = []
    module.register_forward_hook(lambda _, args, output: seen.append(args[0].detach().clone()))
    return seen


def test_inputs_are_rounded_within_their_range_and_gradients_pass_there():
    module = nn.Sequential(nn.Linear(5, 3))
    quantized = QuantizedInputs(module, 3)
    quantized.load_state_dict({"0": 1.5})
    module.eval()
    values = torch.tensor([[-9.0, -0.6, 0.1, 0.9, 1.6]], requires_grad=True)
    seen = inputs_of(module[0])
    module(values).sum().backward()
    torch.testing.assert_close(seen[0], torch.tensor([[-1.5, -0.5, 0.0, 1.0, 1.5]]))
    expected = module[0].weight.detach().sum(0) * torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0])
    torch.testing.assert_close(values.grad[0], expected)
    quantized.remove()
    module(values)
    assert torch.equal(seen[1], values)


def test_ranges_are_moving_averages_of_the_largest_magnitude_in_training():
    module = nn.Sequential(nn.Linear(2, 2))
    quantized = QuantizedInputs(module, decay=0.75)
    for largest in (4.0, 8.0):
        module(torch.tensor([[0.5, -largest]]))
        module(torch.tensor([[0.5, 0.1]]))
        quantized.end_batch()
    assert quantized.state_dict() == {"0": 5.0}
    module.eval()
    module(torch.full((1, 2), 100.0))
    quantized.end_batch()
    assert quantized.state_dict() == {"0": 5.0}
    quantized.end_batch(lambda values: values.clamp(min=9.0))  # another process saw 9
    assert quantized.state_dict() == {"0": 6.0}
    module(torch.zeros(1, 2))
    assert not QuantizedInputs(nn.Sequential(nn.Linear(1, 1))).state_dict()


def test_recurrent_attention_and_convolutional_modules_are_served():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    query, key = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    for name, module, arguments, options, ranges in (
        ("packed", nn.LSTM(4, 3), (pack_sequence([torch.randn(3, 4)]),), {}, {"0"}),
        ("hidden", nn.GRU(4, 3), (torch.randn(2, 1, 4), torch.zeros(1, 1, 3)), {}, {"0"}),
        ("cell", nn.LSTMCell(4, 3), (torch.randn(2, 4),), {}, {"0"}),
        ("convolution", nn.Conv2d(1, 2, 3), (torch.randn(1, 1, 4, 4),), {}, {"0"}),
        ("attention", attention, (query, key), {"value": key + 1}, {"0.query", "0.key", "0.value"}),
        ("self-attention", attention, (query, query, query), {}, {"0.query"}),
    ):
        with naming(name):
            holder = nn.ModuleList([module])
            exact = module(*arguments, **options)
            quantized = QuantizedInputs(holder, 4)
            result = module(*arguments, **options)
            quantized.end_batch()
            quantized.remove()
            assert set(quantized.state_dict()) == ranges
            first, second = (out[0] if isinstance(out, tuple) else out for out in (exact, result))
            first, second = (getattr(out, "data", out) for out in (first, second))
            assert not torch.equal(first, second)
            torch.testing.assert_close(first, second, rtol=0.3, atol=0.3)


def test_a_copy_of_a_module_computes_exactly():
    """A teacher is a copy of the module with its hooks."""
    module = nn.Sequential(nn.Linear(4, 4)).eval()
    inputs, exact = torch.randn(2, 4), nn.Sequential(nn.Linear(4, 4))
    quantized = QuantizedInputs(module, 2)
    quantized.load_state_dict({"0": 1.0})
    exact.load_state_dict(module.state_dict())
    assert not torch.equal(module(inputs), exact(inputs))
    assert torch.equal(deepcopy(module)(inputs), exact(inputs))


def test_an_embedding_keeps_its_numbers():
    module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    quantized = QuantizedInputs(module, patterns=["*"])
    module(torch.tensor([[3, 8]]))
    quantized.end_batch()
    assert set(quantized.state_dict()) == {"1"}


def test_what_was_validated_is_what_a_runtime_computes_from_the_file(tmp_path):
    for make in (Small, Recurrent, Vision):
        with naming(make.__name__):
            module, callback = make(), QuantizeActivations(4)
            save = ModelCheckpoint(tmp_path / make.__name__, filename="last")
            files = CompressCheckpoint("trained", on_error="raise")
            trainer(tmp_path, callback, QuantizeDuringTraining(EIGHT_BITS), files, save, max_epochs=2).fit(module)
            path = tmp_path / make.__name__ / "last.compressed.safetensors"
            record = Archive.open(path).record().checkpoint["activation_ranges"]
            assert record == {"bits": 4, "ranges": callback.ranges}
            loaded = load_from_checkpoint(make, path).eval()
            exact = trainer(tmp_path).validate(loaded, verbose=False)[0]["val_loss"]
            QuantizedInputs(loaded, record["bits"]).load_state_dict(record["ranges"])
            again = trainer(tmp_path).validate(loaded, verbose=False)[0]["val_loss"]
            run = trainer(tmp_path, callback, QuantizeDuringTraining(EIGHT_BITS))
            assert again == run.validate(module, verbose=False)[0]["val_loss"]
            assert again != exact


def loss_after(tmp_path, *callbacks):
    """The loss with inputs of 3 bits after a training."""
    module = Ordered()
    trainer(tmp_path, *callbacks, max_epochs=20).fit(module)
    measure = QuantizeActivations(3)
    trainer(tmp_path, measure, max_epochs=1, limit_train_batches=4).fit(module.requires_grad_(True))
    return trainer(tmp_path, measure).validate(module, verbose=False)[0]["val_loss"]


def test_training_makes_up_for_the_rounding(tmp_path):
    assert loss_after(tmp_path, QuantizeActivations(3)) < 0.9 * loss_after(tmp_path)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    def run(part, *, steps=100, source=None):
        module, callback = Ordered(), QuantizeActivations(4, start=2)
        save = ModelCheckpoint(tmp_path / part, filename="{epoch}", save_on_train_epoch_end=True, save_top_k=-1)
        trainer(tmp_path / part, callback, save, StopAfter(steps)).fit(module, ckpt_path=source)
        return module.state_dict(), callback.ranges

    whole, ranges = run("whole")
    run("parts", steps=6)
    resumed, same = run("parts", source=tmp_path / "parts" / "epoch=0.ckpt")
    assert same == ranges
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor)


def test_before_its_start_a_training_is_the_one_without_the_callback(tmp_path):
    plain, delayed = Ordered(), Ordered()
    callback = QuantizeActivations(2, start=100)
    trainer(tmp_path).fit(plain)
    trainer(tmp_path, callback).fit(delayed)
    assert callback.ranges
    for name, tensor in plain.state_dict().items():
        assert torch.equal(delayed.state_dict()[name], tensor)


def test_what_is_out_of_range_or_unknown_is_refused(tmp_path):
    for arguments, message in (
        ({"bits": 1}, "bits is 1"),
        ({"bits": 32}, "bits is 32, expected a number 2 to 16"),
        ({"decay": 1}, "decay is 1"),
        ({"start": -1}, "start is -1"),
        ({"modules": "net"}, "modules is 'net'"),
        ({"exclude": "net"}, "exclude is 'net'"),
    ):
        with naming(arguments), pytest.raises(CallbackError, match=message):
            QuantizeActivations(**arguments)
    with pytest.raises(TrainingError, match=r"no module whose inputs.*Tanh"):
        QuantizedInputs(nn.Sequential(nn.Tanh()))
    inputs = QuantizedInputs(nn.Sequential(nn.Linear(1, 1)))
    for ranges, message in (({"1": 1.0}, "a range of '1'"), ({"0": float("nan")}, "range of '0' is nan")):
        with naming(ranges), pytest.raises(TrainingError, match=message):
            inputs.load_state_dict(ranges)


def test_an_evaluation_without_ranges_is_told(tmp_path, caplog):
    callback = QuantizeActivations(2)
    trainer(tmp_path, callback).validate(Small(), verbose=False)
    assert "no ranges before a training" in caplog.text
    caplog.clear()
    module = Small()
    run = trainer(tmp_path, QuantizeActivations(2), max_epochs=1, enable_checkpointing=False)
    run.fit(module)
    run.save_checkpoint(tmp_path / "last.ckpt")
    run = trainer(tmp_path, callback, enable_checkpointing=False)
    run.validate(module, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert callback.ranges
    assert "no ranges" not in caplog.text


def test_nan_is_traced_to_the_module_that_reads_it(tmp_path):
    class Diverging(Small):
        def training_step(self, batch, batch_idx):
            inputs = batch[0] * (float("inf") if batch_idx == 1 else 1)
            return F.mse_loss(self(inputs), batch[1])

    with pytest.raises(TrainingError, match=r"input of 'net\.0' was NaN or infinite"):
        trainer(tmp_path, QuantizeActivations()).fit(Diverging())
