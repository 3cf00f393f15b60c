"""Which layer of the teacher a student's layer learns from, and begins with."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from students import Encoder, Recurrent, seeded, words
from torch import nn

from lightning_compress.errors import TrainingError
from lightning_compress.training import choose_layers, initialize, match_layers


def test_layers_are_those_of_the_papers():
    for arguments, expected in (
        ((6, 12, "every"), (1, 3, 5, 7, 9, 11)),  # Sun et al. 2019: 2, 4, 6, 8, 10 from 1, and the final one
        ((4, 12, "every"), (2, 5, 8, 11)),  # Jiao et al. 2020: g(m) = 3 m
        ((6, 12, "last"), (6, 7, 8, 9, 10, 11)),
        ((6, 12, "spread"), (0, 2, 4, 7, 9, 11)),  # the script of DistilBERT
        ((3, 12, "spread"), (0, 6, 11)),
        ((1, 3, "spread"), (0,)),
        ((2, 3, "first"), (0, 1)),
    ):
        with naming(arguments):
            assert choose_layers(*arguments) == expected


def test_layers_are_matched_by_the_names_of_their_stacks():
    student, teacher = Encoder(2, 4), Encoder(4, 4)
    assert match_layers(student, teacher) == {"layers.0": "layers.1", "layers.1": "layers.3"}
    assert match_layers(student, teacher, "last", final=False) == {"layers.0": "layers.2"}
    both = nn.ModuleDict({"left": student, "right": Encoder(1, 4)})
    larger = nn.ModuleDict({"left": teacher, "right": Encoder(2, 4)})
    assert match_layers(both, larger)["right.layers.0"] == "right.layers.1"
    assert match_layers(student, larger, stacks={"layers": "right.layers"})["layers.1"] == "right.layers.1"


def test_layers_that_cannot_be_matched_are_named():
    for student, teacher, options, message in (
        (Encoder(3, 4), Encoder(2, 4), {}, "'layers' and the teacher's 'layers': the student has 3 layers and .* 2"),
        (Recurrent(4), Encoder(2, 4), {}, "stacks are none, those of the teacher 'layers' with 2: give stacks="),
        (Encoder(1, 4), Encoder(2, 4), {"choice": "middle"}, "'middle', expected every"),
        (Encoder(1, 4), Encoder(2, 4), {"stacks": {"layer": "layers"}}, "no stack 'layer' and 'layers'"),
    ):
        with naming(message), pytest.raises(TrainingError, match=message):
            match_layers(student, teacher, **options)


def test_a_student_begins_with_layers_of_its_teacher():
    teacher = seeded(Encoder, 4, 8, seed=1)
    student = initialize(seeded(Encoder, 2, 8, seed=2), teacher)
    by_hand = nn.ModuleList([teacher.layers[0], teacher.layers[3]])
    hidden = teacher.embedding(words(5))
    for layer in by_hand:
        hidden = layer(hidden)
    torch.testing.assert_close(student(words(5)), teacher.scores(hidden.mean(1)), rtol=0, atol=0)
    with torch.no_grad():
        student.embedding.weight.add_(1)
    assert not torch.equal(student.embedding.weight, teacher.embedding.weight)
    other = initialize(seeded(Encoder, 1, 8, seed=2), teacher, {"layers.0": "layers.2"}, new=["scores.*"])
    assert torch.equal(other.layers[0].linear1.weight, teacher.layers[2].linear1.weight)
    assert torch.equal(other.scores.weight, seeded(Encoder, 1, 8, seed=2).scores.weight)


def test_a_student_of_another_width_keeps_its_weights_and_is_told_why():
    teacher, student = Encoder(2, 8), Encoder(1, 4)
    before = {name: each.clone() for name, each in student.state_dict().items()}
    with pytest.raises(
        TrainingError, match=r"embedding.weight \[12, 4\] \(teacher: embedding.weight \[12, 8\]\).*width"
    ):
        initialize(student, teacher)
    with pytest.raises(TrainingError, match=r"lstm.*missing"):
        initialize(Recurrent(8), teacher, {})
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, before[name])
