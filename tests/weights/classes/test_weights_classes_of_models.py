"""Classes of the tensors of well-known models, by their names alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_compress.weights import Weights, classify

MODELS = {
    "BERT": {
        "bert.embeddings.word_embeddings.weight": "embedding",
        "bert.embeddings.position_embeddings.weight": "embedding",
        "bert.embeddings.token_type_embeddings.weight": "embedding",
        "bert.encoder.layer.0.attention.self.query.weight": "encoder.0",
        "bert.encoder.layer.0.attention.self.distance_embedding.weight": "encoder.0",
        "bert.encoder.layer.11.output.LayerNorm.bias": "encoder.11",
        "cls.predictions.bias": "softmax",
        "cls.predictions.decoder.weight": "softmax",
    },
    "DeBERTa": {
        "deberta.embeddings.word_embeddings.weight": "embedding",
        "deberta.encoder.rel_embeddings.weight": "encoder.1",
        "deberta.encoder.layer.1.attention.self.pos_proj.weight": "encoder.1",
    },
    "T5": {
        "shared.weight": "other",
        "encoder.embed_tokens.weight": "source_embedding",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "encoder.0",
        "encoder.block.2.layer.1.DenseReluDense.wi.weight": "encoder.2",
        "encoder.final_layer_norm.weight": "encoder.2",
        "decoder.embed_tokens.weight": "target_embedding",
        "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "decoder.0",
        "decoder.block.1.layer.1.EncDecAttention.q.weight": "decoder.1",
        "lm_head.weight": "softmax",
    },
    "GPT-2": {
        "transformer.wte.weight": "embedding",
        "transformer.wpe.weight": "embedding",
        "transformer.h.0.attn.c_attn.weight": "h.0",
        "transformer.h.11.mlp.c_fc.weight": "h.11",
        "transformer.ln_f.weight": "ln_f",
    },
    "ViT of timm": {
        "cls_token": "other",
        "pos_embed": "other",
        "blocks.0.attn.qkv.weight": "blocks.0",
        "blocks.0.attn.rel_pos_h": "blocks.0",
        "head.weight": "head",
    },
    "ViT of torchvision": {
        "class_token": "other",
        "encoder.pos_embedding": "encoder.1",
        "encoder.layers.encoder_layer_0.self_attention.in_proj_weight": "encoder.0",
        "encoder.layers.encoder_layer_1.ln_1.weight": "encoder.1",
    },
    "ViT of Hugging Face": {
        "vit.embeddings.cls_token": "other",
        "vit.embeddings.position_embeddings": "other",
        "vit.encoder.layer.3.attention.attention.key.weight": "encoder.3",
    },
    "Swin": {
        "layers.0.blocks.1.attn.relative_position_bias_table": "layers.0",
        "layers.1.downsample.reduction.weight": "layers.1",
        "absolute_pos_embed": "other",
        "swin.encoder.layers.0.blocks.1.attention.self.relative_position_bias_table": "encoder.0",
    },
    "Segment anything": {
        "image_encoder.pos_embed": "encoder.7",
        "image_encoder.blocks.7.attn.rel_pos_w": "encoder.7",
    },
    "Whisper": {
        "model.encoder.conv1.weight": "encoder.3",
        "model.encoder.embed_positions.weight": "source_embedding",
        "model.encoder.layers.3.fc1.weight": "encoder.3",
        "model.decoder.embed_tokens.weight": "target_embedding",
        "model.decoder.layers.0.encoder_attn.q_proj.weight": "decoder.0",
    },
    "Whisper of OpenAI": {
        "encoder.positional_embedding": "encoder.1",
        "encoder.blocks.1.attn.query.weight": "encoder.1",
        "decoder.token_embedding.weight": "target_embedding",
        "decoder.positional_embedding": "decoder.0",
    },
    "wav2vec": {
        "wav2vec2.masked_spec_embed": "other",
        "wav2vec2.feature_extractor.conv_layers.0.conv.weight": "feature_extractor.conv_layers.0",
        "wav2vec2.feature_projection.projection.weight": "feature_projection",
        "wav2vec2.encoder.pos_conv_embed.conv.weight_g": "encoder.2",
        "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.2",
        "wav2vec2.encoder.layers.0.attention.rel_attn_embed.weight": "encoder.0",
        "wav2vec2.encoder.layers.2.feed_forward.output_dense.weight": "encoder.2",
    },
    "sequence to sequence with LSTMs": {
        "encoder.embedding.weight": "source_embedding",
        "encoder.rnn.weight_ih_l1_reverse": "encoder.1",
        "decoder.embedding.weight": "target_embedding",
        "decoder.rnn.weight_hh_l0": "decoder.0",
        "decoder.fc_out.weight": "softmax",
        "enc_embedding.weight": "source_embedding",
        "dec_embedding.weight": "target_embedding",
        "encoders.0.embedding.weight": "source_embedding",
    },
    "Marian": {
        "model.shared.weight": "other",
        "model.encoder.embed_tokens.weight": "source_embedding",
        "model.encoder.embed_positions.weight": "source_embedding",
        "model.decoder.embed_positions.weight": "target_embedding",
        "model.decoder.layers.5.encoder_attn.out_proj.bias": "decoder.5",
        "final_logits_bias": "softmax",
    },
    "words that only begin like encoder or decoder": {
        "encoding.embedding.weight": "embedding",
        "sequence_embedding.weight": "embedding",
        "time_decay.embedding.weight": "embedding",
        "decay.embedding.weight": "embedding",
    },
}


@pytest.mark.parametrize("model", MODELS)
def test_classes_of_the_tensors_of(model):
    assert classify(MODELS[model]) == MODELS[model]


class RelativePositions(nn.Module):
    """As in T5, where the table is an ``nn.Embedding`` in the attention of the first layer."""

    def __init__(self):
        super().__init__()
        block = nn.ModuleDict({"relative_attention_bias": nn.Embedding(32, 8), "distances": nn.Embedding(9, 2)})
        self.encoder = nn.ModuleDict({"embed": nn.Embedding(50, 8), "block": nn.ModuleList([block])})
        self.first = nn.Sequential(nn.Embedding(7, 2), nn.Linear(2, 2))


def test_tables_within_layers_belong_to_them_although_they_are_embeddings():
    torch.manual_seed(0)
    found = {weight.name: weight.class_name for weight in Weights.from_module(RelativePositions())}
    assert found == {
        "encoder.embed.weight": "source_embedding",
        "encoder.block.0.relative_attention_bias.weight": "encoder.0",
        "encoder.block.0.distances.weight": "encoder.0",
        "first.0.weight": "embedding",
        "first.1.weight": "first.1",
        "first.1.bias": "first.1",
    }
