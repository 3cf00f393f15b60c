"""Language models: an encoder with a tied head, an encoder-decoder, rotary attention, a recurrent network."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from tests.models.base import Model


class Tokens(Model):
    """A model of sequences of token ids."""

    def example(self):
        return torch.randint(0, self.hparams.vocabulary, (8, 5), generator=torch.Generator().manual_seed(5))

    def loss_of(self, batch):
        return F.cross_entropy(self(batch).flatten(0, 1), batch.flatten())


class Bert(Tokens):
    """An encoder whose masked-language head has the matrix of the embedding, and a bias that is tied to its own."""

    def __init__(self, vocabulary: int = 24, width: int = 8, layers: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.words, self.positions = nn.Embedding(vocabulary, width, padding_idx=0), nn.Embedding(16, width)
        self.register_buffer("position_ids", torch.arange(16)[None])
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 16, dropout=0.1, batch_first=True) for _ in range(layers)
        )
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.decoder = nn.Linear(width, vocabulary)
        self.decoder.weight = self.words.weight
        self.bias = self.decoder.bias

    def forward(self, ids):
        states = self.norm(self.words(ids) + self.positions(self.position_ids[:, : ids.shape[1]]))
        for layer in self.layers:
            states = layer(states)
        return self.decoder(self.transform(states))


class RelativeAttention(nn.Module):
    """Attention with a bias for each distance; layers of one stack share the table of these."""

    def __init__(self, width: int, distances: nn.Embedding) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.relative_attention_bias = distances

    def forward(self, states, memory):
        rows, columns = torch.arange(states.shape[1])[:, None], torch.arange(memory.shape[1])[None]
        bias = self.relative_attention_bias((columns - rows).clamp(-4, 4) + 4)[..., 0]
        scores = self.q(states) @ self.k(memory).mT + bias
        return states + self.o(scores.softmax(-1) @ self.v(memory))


class T5(Tokens):
    """An encoder and a decoder with one embedding, which is the output matrix too."""

    def __init__(self, vocabulary: int = 24, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters("vocabulary", "width")
        self.shared = nn.Embedding(vocabulary, width)
        self.encoder, self.decoder = nn.Module(), nn.Module()
        for stack, attentions in ((self.encoder, 2), (self.decoder, 2)):
            stack.embed_tokens = self.shared
            distances = nn.Embedding(9, 1)
            stack.block = nn.ModuleList(RelativeAttention(width, distances) for _ in range(attentions))
        self.final = nn.Parameter(torch.ones(width))
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.shared.weight

    def forward(self, ids):
        memory, states = self.encoder.embed_tokens(ids), self.decoder.embed_tokens(ids.roll(1, 1))
        for block in self.encoder.block:
            memory = block(memory, memory)
        for index, block in enumerate(self.decoder.block):
            states = block(states, memory if index % 2 else states)
        return self.lm_head(self.final * states * states.square().mean(-1, keepdim=True).add(1e-6).rsqrt())


class Rotary(Tokens):
    """Attention whose positions are rotations: frequencies and their tables are buffers, some of them not saved."""

    def __init__(self, vocabulary: int = 24, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocabulary, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, vocabulary)
        self.register_buffer("inv_freq", 10000.0 ** (-torch.arange(0, width, 2) / width))
        angles = torch.outer(torch.arange(64.0), self.inv_freq).repeat(1, 2)
        self.register_buffer("cos_cached", angles.cos()[None])
        self.register_buffer("sin_cached", angles.sin()[None])
        self.register_buffer("causal", torch.ones(64, 64).tril() == 0)
        self.register_buffer("scale", torch.tensor(width**-0.5), persistent=False)

    def rotated(self, states):
        first, second = states.chunk(2, -1)
        turned = torch.cat([-second, first], -1)
        length = states.shape[1]
        return states * self.cos_cached[:, :length] + turned * self.sin_cached[:, :length]

    def forward(self, ids):
        q, k, v = self.qkv(self.embedding(ids)).chunk(3, -1)
        scores = self.rotated(q) @ self.rotated(k).mT * self.scale
        length = ids.shape[1]
        return self.out(scores.masked_fill(self.causal[:length, :length], -1e9).softmax(-1) @ v)


class Recurrent(Tokens):
    """A GRU, and a cell and a head whose matrices are a direction times a length (weight normalization)."""

    def __init__(self, vocabulary: int = 24, width: int = 8) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocabulary, width)
        self.gru = nn.GRU(width, width, bidirectional=True, batch_first=True)
        self.cell = weight_norm(nn.GRUCell(2 * width, width), "weight_hh")
        self.head = weight_norm(nn.Linear(width, vocabulary))

    def forward(self, ids):
        states, state = self.gru(self.embedding(ids))[0], None
        steps = []
        for step in states.unbind(1):
            state = self.cell(step, state)
            steps.append(state)
        return self.head(torch.stack(steps, 1))
