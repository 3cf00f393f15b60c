"""Hidden states of another width and attention maps: both come nearer the teacher's, and a resumed run is the same."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import trainer
from students import Classifier, Encoder, Recurrent, seeded, words
from torch import nn

from lightning_compress import (
    CompressCheckpoint,
    Distill,
    Grid,
    Half,
    Plan,
    PruneDuringTraining,
    QuantizeDuringTraining,
    Rule,
)
from lightning_compress.archive import Archive
from lightning_compress.errors import CallbackError, TrainingError
from lightning_compress.training import DistillationLoss, Objectives, attention_map_loss, hidden_state_loss
from lightning_compress.training.distillation import Projections

ATTENTION = {"layers.0.self_attn": "layers.1.self_attn"}
PLAN = Plan(Rule("*bias*", Half()), Rule("*", Grid(0.05, trellis=0, rate_weight=0), Half()))


def fitted(tmp_path, network, *callbacks, has_labels=True, **options):
    module = Classifier(network, has_labels=has_labels)
    source = options.pop("ckpt_path", None)
    trainer(tmp_path, *callbacks, **{"max_epochs": 4, **options}).fit(module, ckpt_path=source)
    return module


def teacher(layers=2, width=8, heads=2):
    return seeded(Encoder, layers, width, heads, seed=7)


def distance(student, reference, objectives, *, projections=None):
    """The loss of hidden states or maps alone, on words that were not trained with."""
    loss = DistillationLoss(student, reference, objectives)
    if projections is not None:
        loss.projections.load_state_dict(projections, torch.device("cpu"))
    inputs = words(16, seed=9)
    value = loss.loss(student(inputs), (inputs,), {}).item()
    loss.remove()
    return value


def test_states_of_another_width_come_near_through_a_projection(tmp_path):
    reference = teacher()
    objectives = Objectives(hidden="every", weights={"scores": 0})
    callback = Distill("network", teacher=reference, hidden="every", share=1.0, weights={"scores": 0})
    start = distance(seeded(Encoder, 2, 4), reference, objectives)
    save = ModelCheckpoint(tmp_path, filename="student")
    student = fitted(tmp_path, seeded(Encoder, 2, 4), callback, save, max_epochs=12).network
    state = torch.load(tmp_path / "student.ckpt", weights_only=True)["callbacks"]["Distill"]["projections"]
    shapes = {name: tuple(each.shape) for name, each in state["matrices"].items()}
    assert shapes == {"layers.0": (8, 4), "layers.1": (8, 4)}
    assert distance(student, reference, objectives, projections=state) < 0.6 * start


def test_a_shared_projection_is_one_matrix(tmp_path):
    options = {"hidden": {"layers.0": "layers.0", "layers.1": "layers.1"}, "hidden_loss": "normalized"}
    student, reference = seeded(Encoder, 2, 4), teacher()
    loss = DistillationLoss(student, reference, Objectives(**options, shared_projection=True))
    loss.loss(student(words(4)), (words(4),), {}).backward()
    before = loss.projections.state_dict()["matrices"]
    loss.projections.step()
    after = loss.projections.state_dict()["matrices"]
    assert list(before) == ["4→8"]
    assert not torch.equal(before["4→8"], after["4→8"])


def test_gradients_of_a_scaled_loss_give_the_same_step():
    matrices = []
    for scale in (1.0, 1024.0):
        projections, hidden = Projections(), torch.ones(3, 4)
        (scale * projections.project("a", hidden, 8).square().sum()).backward()
        projections.step(scale)
        matrices.append(projections.state_dict()["matrices"]["a"])
    assert torch.equal(*matrices)
    (float("inf") * projections.project("a", hidden, 8).sum()).backward()
    projections.step(2.0)  # an overflow: left out, as the trainer's optimizer leaves its step out
    assert torch.equal(projections.state_dict()["matrices"]["a"], matrices[1])


def test_attention_maps_come_near_those_of_the_teacher(tmp_path):
    for attention_loss, heads in (("maps", 2), ("transfer", 4)):
        reference = teacher(heads=heads)
        with torch.no_grad():
            reference.layers[1].self_attn.in_proj_weight.mul_(3)  # maps that are not flat
        options = {"attention": ATTENTION, "attention_loss": attention_loss, "weights": {"scores": 0}}
        objectives = Objectives(**options)
        with naming(attention_loss):
            start = distance(seeded(Encoder, 1, 8), reference, objectives)
            callback = Distill("network", teacher=reference, share=1.0, **options)
            student = fitted(tmp_path, seeded(Encoder, 1, 8), callback, max_epochs=15).network
            assert distance(student, reference, objectives) < 0.6 * start


def test_features_of_convolutions_are_compared_by_where_they_are_large():
    student, reference = (nn.Sequential(nn.Conv2d(1, width, 3), nn.Flatten()) for width in (2, 6))
    objectives = Objectives(attention={"0": "0"}, attention_loss="transfer", weights={"scores": 0})
    loss, pictures = DistillationLoss(student, reference, objectives), torch.randn(4, 1, 6, 6)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        values.append(loss.loss(student(pictures), (pictures,), {}))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]


def test_maps_are_those_of_the_attention():
    student, reference = seeded(Encoder, 1, 8), teacher()
    found = distance(student, reference, Objectives(attention=ATTENTION, weights={"scores": 0}))
    inputs = words(16, seed=9)
    first, second = student.embedding(inputs), reference.layers[0](reference.embedding(inputs))
    maps = [
        each.self_attn(hidden, hidden, hidden, average_attn_weights=False)[1]
        for each, hidden in ((student.layers[0], first), (reference.layers[1], second))
    ]
    assert found == pytest.approx(attention_map_loss(*maps).item(), rel=1e-5)


def test_an_encoder_that_shortens_padded_sequences_gives_states_to_compare():
    """torch's own encoder would give its layers nested tensors, in evaluation mode with padding."""

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)

        def forward(self, hidden, padding):
            return self.encoder(hidden, src_key_padding_mask=padding)

    student, reference = seeded(Padded), seeded(Padded, seed=4).eval()
    hidden, padding = torch.randn(3, 5, 8), torch.arange(5) >= torch.tensor([[5], [3], [2]])
    hidden_states = {"encoder.layers.0": "encoder.layers.0"}
    maps = {"encoder.layers.1.self_attn": "encoder.layers.1.self_attn"}
    loss = DistillationLoss(student, reference, Objectives(hidden=hidden_states, attention=maps, weights={"scores": 0}))
    with torch.no_grad():
        expected = hidden_state_loss(
            student.encoder.layers[0](hidden, src_key_padding_mask=padding),
            reference.encoder.layers[0](hidden, src_key_padding_mask=padding),
        )
    loss._listeners[0][2].take()
    value = loss.loss(student(hidden, padding), (hidden, padding), {})
    assert value > expected > 0
    loss.remove()
    assert reference.encoder.use_nested_tensor
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in reference.modules())


def test_a_resumed_run_continues_with_its_projections(tmp_path):
    def run(part, epochs, source=None):
        save = ModelCheckpoint(tmp_path / part, filename="{epoch}", save_top_k=-1)
        distill = Distill("network", teacher=teacher(), share=0.5, hidden="every", attention=ATTENTION)
        options = {"max_epochs": epochs, "ckpt_path": source, "accumulate_grad_batches": 2}
        module = fitted(tmp_path / part, seeded(Encoder, 2, 4), distill, save, **options)
        state = torch.load(tmp_path / part / f"epoch={epochs - 1}.ckpt", weights_only=True)["callbacks"]["Distill"]
        return module.state_dict() | state["projections"]["matrices"]

    whole = run("whole", 3)
    run("parts", 1)
    resumed = run("parts", 3, tmp_path / "parts" / "epoch=0.ckpt")
    assert len(whole) == len(seeded(Encoder, 2, 4).state_dict()) + 2
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0)


def test_a_run_that_resumes_with_another_teacher_is_refused(tmp_path):
    save = ModelCheckpoint(tmp_path, filename="last")
    distill = Distill("network", teacher=teacher(), hidden="every")
    fitted(tmp_path, seeded(Encoder, 2, 4), distill, save, max_epochs=1)
    wider = Distill("network", teacher=teacher(width=16), hidden="every")
    with pytest.raises(TrainingError, match=r"'layers.0' and .*: the projection is \[8, 4\], and .* \[16, 4\]: resume"):
        fitted(tmp_path, seeded(Encoder, 2, 4), wider, save, ckpt_path=tmp_path / "last.ckpt", max_epochs=2)


def test_random_numbers_are_those_of_a_training_without_projections(tmp_path):
    """A share of 0 leaves the training as it is, bit for bit."""

    def run(*callbacks):
        network = nn.Sequential(seeded(Encoder, 2, 4), nn.Dropout(0.3))
        torch.manual_seed(1)
        return fitted(tmp_path, network, *callbacks).state_dict()

    plain = run()
    distill = Distill("network.0", teacher=teacher(), share=0.0, hidden="every")
    listened = run(distill)
    for name, tensor in plain.items():
        torch.testing.assert_close(listened[name], tensor, rtol=0, atol=0)


def test_a_student_of_another_kind_learns_from_data_without_labels(tmp_path):
    reference = fitted(tmp_path / "teacher", seeded(Encoder, 2, 8), max_epochs=20).network.eval()
    inputs = words(64, seed=5)
    with torch.no_grad():
        expected = reference(inputs).argmax(-1)

    def agreement(network):
        with torch.no_grad():
            return (network(inputs).argmax(-1) == expected).float().mean().item()

    distill = Distill("network", teacher=reference, share=1.0, temperature=2.0)
    student = fitted(tmp_path, seeded(Recurrent, 8), distill, has_labels=False, max_epochs=20).network
    assert agreement(student) > agreement(seeded(Recurrent, 8)) + 0.2


def test_together_with_pruning_and_quantization_the_file_is_what_was_trained(tmp_path):
    distill = Distill("network", share=0.5, hidden="every", attention={"layers.0.self_attn": "layers.0.self_attn"})
    callbacks = [
        PruneDuringTraining(0.5, end=4, every=2),
        QuantizeDuringTraining(PLAN),
        distill,
        CompressCheckpoint(PLAN, on_error="raise"),
        ModelCheckpoint(tmp_path, filename="small"),
    ]
    start = seeded(Encoder, 2, 8)
    before = {name: each.clone() for name, each in start.state_dict().items()}
    module = fitted(tmp_path, start, *callbacks, max_epochs=2)
    state = torch.load(tmp_path / "small.ckpt", weights_only=True)["callbacks"]["Distill"]["teacher"]
    for name, tensor in before.items():
        assert torch.equal(state[name], tensor)  # the exact weights taught, not pruned and not quantized
    restored = Archive.open(tmp_path / "small.compressed.safetensors").restore()
    weight = restored["network.layers.0.linear1.weight"]
    assert torch.equal(weight, (weight / 0.05).round() * 0.05)
    assert (weight == 0).float().mean() > 0.4
    assert (module.network.layers[0].linear1.weight == 0).any()


def test_what_cannot_be_matched_is_named(tmp_path):
    shared = Encoder(2, 8)
    shared.layers[1] = shared.layers[0]
    for arguments, error, message in (
        ({"hidden": "every", "teacher": shared}, CallbackError, "'layers.0' and 'layers.1' of the teacher are one"),
        ({"hidden": "every", "teacher": Encoder(1, 8)}, CallbackError, "'layers' and .* 2 layers and the teacher 1"),
        ({"hidden": "every", "teacher": Recurrent(8)}, CallbackError, "those of the teacher none"),
        ({"attention": {"layers.0.attn": "layers.0.self_attn"}}, CallbackError, "did you mean"),
        ({"attention": {"layers.0": "layers.0"}}, TrainingError, "'layers.0' and .* name the module that computes"),
        ({"attention": ATTENTION, "teacher": teacher(heads=4)}, TrainingError, "attention_loss='transfer'"),
        (
            {"hidden": {"layers.0.self_attn.out_proj": "layers.0"}, "teacher": teacher()},
            TrainingError,
            "out_proj' of the student gave nothing",
        ),
    ):
        with naming(message), pytest.raises(error, match=message):
            fitted(tmp_path, seeded(Encoder, 2, 8), Distill("network", **arguments), max_epochs=1)
    for arguments, message in (
        ({"hidden": "middle"}, "hidden is 'middle', expected 'every'"),
        ({"hidden": ["layers.0"]}, "expected a mapping"),
        ({"attention": {"layers.0": 3}}, "expected a mapping"),
        ({"hidden_loss": "l2"}, "'error' or 'normalized'"),
        ({"attention_loss": "l2"}, "'maps' or 'transfer'"),
        ({"weights": {"outputs": 1}}, "'scores' or 'hidden' or 'attention'"),
        ({"weights": {"scores": -1}}, "from 0"),
        ({"weights": {"scores": 0}}, "nothing to learn"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"shared_projection": 1}, "True or False"),
    ):
        with naming(arguments), pytest.raises(CallbackError, match=message):
            Distill("network", **arguments)
