"""Classes derived from names and modules in common naming styles, and patterns that override them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_compress.errors import WeightsError
from lightning_compress.weights import Weights, classify

STYLES = {
    "fairseq": {
        "encoder.embed_tokens.weight": "source_embedding",
        "encoder.layers.0.self_attn.k_proj.weight": "encoder.0",
        "encoder.layers.5.final_layer_norm.bias": "encoder.5",
        "encoder.layer_norm.weight": "encoder.5",
        "decoder.embed_tokens.weight": "target_embedding",
        "decoder.layers.3.encoder_attn.k_proj.weight": "decoder.3",
        "decoder.output_projection.weight": "softmax",
    },
    "hugging face": {
        "model.shared.weight": "other",
        "model.encoder.embed_positions.weight": "source_embedding",
        "model.encoder.layers.0.fc1.weight": "encoder.0",
        "model.decoder.layers.10.encoder_attn.out_proj.bias": "decoder.10",
        "model.decoder.layernorm_embedding.weight": "target_embedding",
        "final_logits_bias": "softmax",
        "lm_head.weight": "softmax",
    },
    "bert": {
        "bert.embeddings.word_embeddings.weight": "embedding",
        "bert.encoder.layer.11.attention.output.dense.weight": "encoder.11",
        "classifier.weight": "softmax",
    },
    "gnmt": {
        "encoder.embedder.weight": "source_embedding",
        "encoder.rnn_layers.0.weight_ih_l0": "encoder.0",
        "encoder.rnn_layers.0.weight_ih_l0_reverse": "encoder.0",
        "encoder.rnn_layers.3.bias_hh_l0": "encoder.3",
        "decoder.embedder.weight": "target_embedding",
        "decoder.att_rnn.rnn.weight_ih_l0": "decoder.0",
        "decoder.rnn_layers.2.weight_hh_l0": "decoder.2",
        "decoder.att_rnn.attn.linear_q.weight": "decoder.2",
        "decoder.classifier.classifier.weight": "softmax",
    },
    "recurrent, torch's own layers": {
        "src_embedding.weight": "source_embedding",
        "encoder.weight_ih_l0": "encoder.0",
        "encoder.bias_hh_l1_reverse": "encoder.1",
        "trg_emb.weight": "target_embedding",
        "decoder_rnn.weight_ih_l1": "decoder.1",
        "generator.weight": "softmax",
    },
    "annotated transformer": {
        "src_embed.0.lut.weight": "source_embedding",
        "tgt_embed.0.lut.weight": "target_embedding",
        "encoder.norm.a_2": "encoder.1",
        "encoder.layers.1.sublayer.0.norm.a_2": "encoder.1",
        "generator.proj.weight": "softmax",
    },
    "torch transformer": {
        "transformer.encoder.layers.1.self_attn.in_proj_weight": "encoder.1",
        "transformer.decoder.layers.0.multihead_attn.in_proj_weight": "decoder.0",
        "transformer.decoder.norm.weight": "decoder.0",
        "fc_out.bias": "softmax",
    },
    "lightning module around a compiled model": {
        "model._orig_mod.source_embedding.weight": "source_embedding",
        "model._orig_mod.encoder.layers.2.norm1.weight": "encoder.2",
        "model._orig_mod.softmax.weight": "softmax",
    },
    "parametrized": {"encoder.layers.0.linear.parametrizations.weight.original0": "encoder.0"},
    "convolutional": {
        "features.0.weight": "features.0",
        "layer1.0.conv1.weight": "layer1.0",
        "layer1.1.conv1.weight": "layer1.1",
        "layer2.0.conv1.weight": "layer2.0",
        "fc.weight": "fc",
    },
    "words that contain others": {
        "ensemble.members.0.weight": "ensemble.members.0",
        "encoding.weight": "encoding",
        "generator.main.3.weight": "generator.main.3",
        "discriminator.main.0.weight": "discriminator.main.0",
    },
}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_classes_from_names(style):
    assert classify(style) == style


class Translator(nn.Module):
    """Names carry no information; only types and sizes do."""

    def __init__(self):
        super().__init__()
        self.words_src = nn.Embedding(40, 8)
        self.words_trg = nn.utils.parametrizations.weight_norm(nn.Embedding(50, 8))
        self.places = nn.ModuleDict({"pos": nn.Embedding(32, 8)})
        self.reader = nn.Linear(8, 32)
        self.out = nn.Linear(8, 50)


def test_embeddings_and_the_vocabulary_projection_are_found_by_type():
    module = Translator()
    assert classify(module.state_dict(), module=module) == {
        "words_src.weight": "source_embedding",
        "words_trg.parametrizations.weight.original0": "target_embedding",
        "words_trg.parametrizations.weight.original1": "target_embedding",
        "places.pos.weight": "embedding",
        "reader.weight": "other",
        "reader.bias": "other",
        "out.weight": "softmax",
        "out.bias": "softmax",
    }


def test_a_compiled_module_gives_the_same_classes():
    module = Translator()
    plain = [w.class_name for w in Weights.from_module(module)]
    assert [w.class_name for w in Weights.from_module(torch.compile(module, backend="eager"))] == plain


def test_torch_transformer_by_layer():
    module = nn.Transformer(8, 2, 2, 3, 16, batch_first=True)
    classes = set(classify(module.state_dict(), module=module).values())
    assert classes == {"encoder.0", "encoder.1", "decoder.0", "decoder.1", "decoder.2"}


def test_patterns_override():
    names = ["encoder.layers.0.weight", "encoder.norm.weight", "head.weight", "head.bias"]
    overrides = {"norms": "*norm*", "softmax": ["head.weight", "head.b?as"]}
    assert list(classify(names, overrides=overrides).values()) == ["encoder.0", "norms", "softmax", "softmax"]


def test_an_override_that_matches_nothing_is_refused():
    with pytest.raises(WeightsError, match=r"class 'norms': pattern '\*norn\*' matches none of the 2 .*'a\.norm', 'b'"):
        classify(["a.norm", "b"], overrides={"norms": "*norn*"})
