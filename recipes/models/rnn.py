"""Recurrent translation network in the style of GNMT (Wu et al. 2016, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from recipes.checks import check_least, check_shares, check_sizes
from recipes.data.vocabulary import PAD, SPECIALS
from recipes.errors import SettingsError
from recipes.models.bahdanau import NormalizedAttention
from recipes.models.lstm import AttendingLayer, BidirectionalLayer, LayerState, LstmLayer
from recipes.models.network import DecoderState, Network

RESIDUAL_FROM = 2  # the third layer, counted from 0, is the first whose input is added to its output


@dataclass(frozen=True)
class RnnState:
    """Decoder state.

    Attributes:
        layers: one :class:`~recipes.models.lstm.LayerState` a layer.
        keys: ``[b, s, d]``, the source as the attention compares it.
        memory: ``[b, s, d]``, the encoded source.
        visible: ``[b, s]``, false where the source is padding.
    """

    layers: tuple[LayerState, ...]
    keys: Tensor
    memory: Tensor
    visible: Tensor

    def select(self, rows: Tensor) -> RnnState:
        """The state of other batch rows, ``rows: [n]``."""
        keys, memory, visible = (x.index_select(0, rows) for x in (self.keys, self.memory, self.visible))
        return RnnState(tuple(layer.select(rows) for layer in self.layers), keys, memory, visible)


class Encoder(nn.Module):
    """A stack of LSTM layers, the first of them in both directions on request."""

    def __init__(self, layers: int, width: int, *, dropout: float, bidirectional: bool) -> None:
        super().__init__()
        first = BidirectionalLayer if bidirectional else LstmLayer
        self.layers = nn.ModuleList([first(width, width, dropout=dropout)])
        for k in range(1, layers):
            doubled = bidirectional and k == 1
            self.layers.append(LstmLayer(2 * width if doubled else width, width, dropout=dropout))

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """``hidden: [b, s, d]`` of which ``lengths: [b]`` words count → ``[b, s, d]``."""
        for k, layer in enumerate(self.layers):
            if isinstance(layer, BidirectionalLayer):
                hidden = layer(hidden, lengths)
                continue
            out, _ = layer(hidden, cast("LstmLayer", layer).start(hidden))
            hidden = out + hidden if k >= RESIDUAL_FROM else out
        return hidden


class Decoder(nn.Module):
    """A stack of LSTM layers; the output of the first queries the attention, and the others also read the context."""

    def __init__(self, layers: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([AttendingLayer(width, dropout=dropout)])
        self.layers.extend(LstmLayer(2 * width, width, dropout=dropout) for _ in range(1, layers))

    @property
    def attention(self) -> NormalizedAttention:
        """The first layer's."""
        return cast("AttendingLayer", self.layers[0]).attention

    @property
    def recurrences(self) -> list[LstmLayer]:
        """The LSTM of each layer."""
        return [cast("AttendingLayer", self.layers[0]).recurrence, *cast("list[LstmLayer]", self.layers[1:])]

    def start(self, memory: Tensor, visible: Tensor) -> RnnState:
        """State before the first word, for the encoded source ``memory: [b, s, d]``."""
        layers = tuple(layer.start(memory) for layer in self.recurrences)
        return RnnState(layers, self.attention.project(memory), memory, visible)

    def forward(self, hidden: Tensor, state: RnnState) -> tuple[Tensor, RnnState]:
        """``hidden: [b, n, d]`` → ``[b, n, d]``, and the state after these words."""
        first, *others = self.recurrences
        # 1. the first layer reads the target words
        hidden, first_state = first(hidden, state.layers[0])
        after = [first_state]
        # 2. its output queries the attention: one context for each word, [b, n, d]
        context = self.attention(hidden, state.keys, state.memory, state.visible)
        # 3. every other layer reads the layer below it and the context
        for k, (layer, before) in enumerate(zip(others, state.layers[1:], strict=True), start=1):
            out, layer_state = layer(torch.cat([hidden, context], dim=2), before)
            # 4. from the third layer on, what came from below is added
            hidden = out + hidden if k >= RESIDUAL_FROM else out
            after.append(layer_state)
        return hidden, RnnState(tuple(after), state.keys, state.memory, state.visible)


class Rnn(Network):
    """Encoder and decoder stacks of LSTM layers over separate word embeddings.

    The first decoder layer reads words only, so that training runs every layer over whole sentences at once.
    The decoder begins with zeros: it receives the source only through the attention.

    Shape legend: ``b`` batch, ``s`` source length, ``n`` target length, ``d`` width, ``w`` target words.
    The defaults are the paper's: 2 + 2 layers, width 1024, dropout 0.2, an encoder that reads in one direction.

    Args:
        source_words: size of the source vocabulary, specials included.
        target_words: size of the target vocabulary, specials included.
        width: width ``d`` of embeddings, layers and attention.
        layers: number of layers of the encoder, and of the decoder; 2 or more.
        dropout: share dropped from what each layer reads in training.
        bidirectional: whether the first encoder layer reads in both directions, as in GNMT.

    Raises:
        SettingsError: if a vocabulary has no word besides the specials, ``width`` is below 1, ``layers`` is below 2,
            or ``dropout`` is outside 0 … 1.
    """

    def __init__(
        self,
        source_words: int,
        target_words: int,
        *,
        width: int = 1024,
        layers: int = 2,
        dropout: float = 0.2,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        check_least(len(SPECIALS) + 1, source_words=source_words, target_words=target_words)
        check_sizes(width=width)
        check_shares(dropout=dropout)
        if layers < 2:
            raise SettingsError(f"layers is {layers}: expected 2 or more, as the attention feeds the second layer")
        self.source_embedding = nn.Embedding(source_words, width, padding_idx=PAD)
        self.target_embedding = nn.Embedding(target_words, width, padding_idx=PAD)
        self.encoder = Encoder(layers, width, dropout=dropout, bidirectional=bidirectional)
        self.decoder = Decoder(layers, width, dropout=dropout)
        self.softmax = nn.Linear(width, target_words, bias=False)
        initialize(self, width)

    def encode(self, source: Tensor) -> RnnState:
        """``source: [b, s]`` → the state before the first target word."""
        visible = source != PAD
        memory = self.encoder(self.source_embedding(source), visible.sum(dim=1))
        return self.decoder.start(memory, visible)

    def step(self, words: Tensor, state: DecoderState) -> tuple[Tensor, RnnState]:
        """``words: [b, n]`` → scores ``[b, n, w]`` and the state after them."""
        if not isinstance(state, RnnState):
            raise TypeError(f"state is a {type(state).__name__}: pass the RnnState that encode or step returned")
        hidden, after = self.decoder(self.target_embedding(words), state)
        return self.softmax(hidden), after


@torch.no_grad()
def initialize(network: nn.Module, width: int) -> None:
    """Give all weights their first values.

    Matrices and tables are uniform in ``±√(10 / width)``: at the paper's width of 1024 that is ±0.1, as in GNMT's
    public settings, and at any other width it gives sums of the same spread. Biases are zeros, but for forget
    gates at 1 (Jozefowicz et al. 2015). The words ``PAD`` are zeros.
    """
    bound = math.sqrt(10 / width)
    for module in network.modules():
        if isinstance(module, nn.LSTM):
            for weight in (module.weight_ih_l0, module.weight_hh_l0):
                cast("Tensor", weight).uniform_(-bound, bound)
            for bias in (module.bias_ih_l0, module.bias_hh_l0):
                cast("Tensor", bias).zero_()
            # torch orders the gates input, forget, cell, output
            cast("Tensor", module.bias_ih_l0).chunk(4)[1].fill_(1.0)
        elif isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.uniform_(-bound, bound)
            if isinstance(module, nn.Embedding):
                module.weight[PAD] = 0.0
            elif module.bias is not None:
                module.bias.zero_()
