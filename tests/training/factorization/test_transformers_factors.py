"""A BERT and a T5 of ``transformers``, from a config, with factors: they compute, train on, and come back."""

from __future__ import annotations

import pytest
import torch
from each_case import naming

from lightning_compress import Plan, Raw, Rule, compress
from lightning_compress.training import FactoredEmbedding, factorize, factorize_to, ranks_of

transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def bert():
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    return transformers.BertForMaskedLM(config)


def t5():
    config = transformers.T5Config(
        vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0, pad_token_id=0
    )
    config.decoder_start_token_id = 0
    torch.manual_seed(0)
    return transformers.T5ForConditionalGeneration(config)


def loss(model):
    ids = torch.randint(1, 60, (4, 8), generator=torch.Generator().manual_seed(1))
    return model(input_ids=ids, labels=ids).loss


def test_the_factored_model_trains_on_and_comes_back():
    for make, table in ((bert, "bert.embeddings.word_embeddings"), (t5, "shared")):
        with naming(make.__name__):
            model = factorize(make(), target_ratio=1.6)
            assert isinstance(model.get_submodule(table), FactoredEmbedding)
            sizes = [sum(each.numel() for each in every.parameters()) for every in (make(), model)]
            assert sizes[1] <= sizes[0] / 1.6
            optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
            values = []
            for _ in range(30):
                optimizer.zero_grad()
                values.append(loss(model))
                values[-1].backward()
                optimizer.step()
            assert values[-1] < 0.9 * values[0]
            state = compress(model, Plan(Rule("*", Raw()))).restore()
            again = factorize_to(make(), state)
            again.load_state_dict(state)
            assert ranks_of(again) == ranks_of(model)
            with torch.no_grad():
                torch.testing.assert_close(loss(again.eval()), loss(model.eval()))
