"""A BERT of ``transformers``, from a config, teaches a smaller BERT and an LSTM; a T5 a smaller T5."""

from __future__ import annotations

import pytest
import torch
from each_case import naming
from small_trainings import trainer
from students import LENGTH, WORDS, Classifier, Recurrent, seeded, words
from torch import nn

from lightning_compress import Distill
from lightning_compress.errors import TrainingError
from lightning_compress.training import DistillationLoss, Objectives, Outputs, initialize, match_layers

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def bert(layers, width=16, attention="eager"):
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=LENGTH,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(layers)
    config._attn_implementation = attention
    return transformers.BertForSequenceClassification(config)


class Scores(nn.Module):
    """The scores alone of a model that gives an object."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs).logits


def distilled(tmp_path, network, **options):
    module = Classifier(network, has_labels=False)
    trainer(tmp_path, Distill("network", share=1.0, **options), max_epochs=15).fit(module)
    return module.network


def distance(student, teacher, objectives):
    loss = DistillationLoss(student, teacher.eval(), objectives)
    inputs = words(32, seed=5)
    with torch.no_grad(), torch.enable_grad():
        value = loss.loss(student(inputs), (inputs,), {}).item()
    loss.remove()
    return value


def test_a_smaller_bert_learns_scores_states_and_maps(tmp_path):
    teacher = Scores(bert(4))
    stack = "model.bert.encoder.layer"
    with torch.no_grad():
        for name, each in teacher.named_parameters():
            if "query" in name or "word_embeddings" in name:
                each.mul_(20)  # maps that are not flat
    maps = {f"{stack}.0.attention.self": f"{stack}.1.attention.self"}
    start = Scores(bert(2, width=8))
    options = {"hidden": "every", "attention": maps, "hidden_loss": "normalized"}
    student = distilled(tmp_path, Scores(bert(2, width=8)), teacher=teacher, **options)
    for objectives in (Objectives(), Objectives(attention=maps, weights={"scores": 0})):
        with naming(objectives):
            assert distance(student, teacher, objectives) < 0.8 * distance(start, teacher, objectives)
    assert match_layers(start, teacher)[f"{stack}.1"] == f"{stack}.3"


def test_a_smaller_bert_begins_with_every_other_layer():
    teacher = bert(4)
    student = initialize(bert(2), teacher, "every")
    first, second = (each.bert.encoder.layer for each in (student, teacher))
    for own, other in ((0, 1), (1, 3)):
        for name, tensor in first[own].state_dict().items():
            assert torch.equal(tensor, second[other].state_dict()[name])
    assert torch.equal(student.classifier.weight, teacher.classifier.weight)


def test_an_lstm_learns_from_a_bert_without_labels(tmp_path):
    """Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural Networks"."""
    teacher = Scores(bert(2))
    start = distance(seeded(Recurrent, 8), teacher, Objectives())
    student = distilled(tmp_path, seeded(Recurrent, 8), teacher=teacher)
    assert distance(student, teacher, Objectives()) < 0.5 * start


def test_maps_of_a_t5():
    def t5(layers):
        config = transformers.T5Config(
            vocab_size=WORDS, d_model=8, d_kv=4, d_ff=16, num_layers=layers, num_heads=2, dropout_rate=0.0
        )
        config._attn_implementation = "eager"
        torch.manual_seed(layers)
        return transformers.T5EncoderModel(config)

    name = "encoder.block.0.layer.0.SelfAttention"
    model = t5(1)
    collected = Outputs({"self": model.get_submodule(name)}, maps=True)
    model(words(3))
    found = collected.take()["self"]
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 2, LENGTH))
    objectives = Objectives(attention={name: "encoder.block.1.layer.0.SelfAttention"}, weights={"scores": 0})
    assert distance(t5(1), t5(2), objectives) > 0


def test_an_attention_that_gives_no_map_is_named():
    attention = "model.bert.encoder.layer.0.attention.self"
    student, teacher = Scores(bert(1, attention="sdpa")), Scores(bert(1))
    objectives = Objectives(attention={attention: attention}, weights={"scores": 0})
    with pytest.raises(TrainingError, match=r"module 'model.bert.encoder.layer.0.attention.self': .*eager"):
        distance(student, teacher, objectives)
