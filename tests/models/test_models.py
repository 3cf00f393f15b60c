"""Models of ten kinds come back from their companion files by every way that a file is loaded."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint

from lightning_compress import CompressCheckpoint, Plan, Raw, Rule, compress, expand, load, load_from_checkpoint
from tests.callbacks.conftest import ADVICE
from tests.models.language import T5, Bert, Recurrent, Rotary
from tests.models.vision import GAN, ArcFace, Averaged, Diffusion, LoRA, ResNet

MODELS = (Bert, T5, ResNet, Diffusion, Rotary, Recurrent, ArcFace, GAN, LoRA, Averaged)
EXACT = Plan(Rule("*", Raw()))
BOUND = 2.0**-7  # relative: bfloat16 has 7 bits of the fraction, and ``half`` drops the others
CLOSE = 0.03  # of the largest prediction; the largest measured difference is 0.013


def trained(kind, plan, folder):
    """A module after two steps, its trainer, the checkpoint and its companion file."""
    pl.seed_everything(1)
    module = kind()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, filename="model"), CompressCheckpoint(plan, on_error="raise")],
    )
    trainer.fit(module)
    return module, trainer, folder / "model.ckpt", folder / "model.compressed.safetensors"


def loaded_in_every_way(kind, trainer, companion):
    """Way of loading → a module that was built or filled from the file, and what it predicts."""
    ours = load_from_checkpoint(kind, companion)
    yield "load_from_checkpoint", ours, ours.predictions()
    tested = kind()
    trainer.test(tested, ckpt_path=str(companion), verbose=False)
    yield "trainer.test", tested, tested.tested
    expand(companion, companion.with_name("expanded.ckpt"))
    theirs = kind.load_from_checkpoint(companion.with_name("expanded.ckpt"), weights_only=True)
    yield "expand", theirs, theirs.predictions()


def assert_restored(restored, exact, module, *, bound, buffers_exact=True):
    """Every tensor is there; a floating-point parameter is within the relative bound, and all else is equal."""
    parameters = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    assert set(restored) == set(exact)
    for name, tensor in exact.items():
        with naming(name):
            back = restored[name]
            assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
            if bound and tensor.is_floating_point() and (name in parameters or not buffers_exact):
                assert ((back - tensor).abs() <= bound * tensor.abs()).all()
            else:
                assert torch.equal(back, tensor)


def check(kind, plan, bound, folder):
    module, trainer, checkpoint, companion = trained(kind, plan, folder)
    exact, expected = module.state_dict(), module.predictions()
    assert_restored(load(companion), exact, module, bound=bound)
    # Without the module, a checkpoint does not say which of its tensors are buffers.
    assert_restored(compress(checkpoint, plan).restore(), exact, module, bound=bound, buffers_exact=False)
    for way, loaded, predictions in loaded_in_every_way(kind, trainer, companion):
        with naming(way):
            assert_restored(loaded.state_dict(), exact, module, bound=bound)
            if bound:
                assert (predictions - expected).abs().max() <= CLOSE * expected.abs().max()
            else:
                assert torch.equal(predictions, expected)


@pytest.mark.filterwarnings(*ADVICE)
@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_a_trained_model_comes_back_in_every_way(kind, tmp_path):
    for name, plan, bound in (("raw", EXACT, 0.0), ("half", "half", BOUND)):
        with naming(name):
            check(kind, plan, bound, tmp_path / name)
