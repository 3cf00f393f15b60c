"""The Transformer (Vaswani et al. 2017) with separate source embedding, target embedding and softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from lightning_compress.training import FactoredEmbedding, FactoredLinear
from recipes.checks import check_least, check_name, check_shares, check_sizes
from recipes.data.vocabulary import PAD, SPECIALS
from recipes.errors import SettingsError
from recipes.models.attention import causal_mask
from recipes.models.network import DecoderState, Network
from recipes.models.positions import sinusoids
from recipes.models.transformer_layers import DecoderLayer, EncoderLayer, LayerSizes, LayerState

Layer = TypeVar("Layer", EncoderLayer, DecoderLayer)


@dataclass(frozen=True)
class TransformerState:
    """Decoder state.

    Attributes:
        layers: one :class:`LayerState` a layer.
        visible: ``[b, 1, 1, s]``, false where the source is padding.
    """

    layers: tuple[LayerState, ...]
    visible: Tensor

    @property
    def seen(self) -> int:
        """How many target words were read so far."""
        return self.layers[0].keys.size(2)

    def select(self, rows: Tensor) -> TransformerState:
        """The state of other batch rows, ``rows: [n]``."""
        layers = (
            LayerState(*(t.index_select(0, rows) for t in (x.keys, x.values, x.source_keys, x.source_values)))
            for x in self.layers
        )
        return TransformerState(tuple(layers), self.visible.index_select(0, rows))


class Encoder(nn.Module):
    """A stack of :class:`EncoderLayer`."""

    def __init__(self, layers: int, sizes: LayerSizes, *, is_shared: bool = False) -> None:
        super().__init__()
        self.layers = stack(EncoderLayer, layers, sizes, is_shared=is_shared)
        self.norm = sizes.final_norm()

    def forward(self, hidden: Tensor, visible: Tensor) -> Tensor:
        """``hidden: [b, s, d]``, ``visible: [b, 1, 1, s]`` → ``[b, s, d]``."""
        for layer in self.layers:
            hidden = layer(hidden, visible)
        normed: Tensor = self.norm(hidden)
        return normed


class Decoder(nn.Module):
    """A stack of :class:`DecoderLayer`."""

    def __init__(self, layers: int, sizes: LayerSizes, *, is_shared: bool = False) -> None:
        super().__init__()
        self.layers = stack(DecoderLayer, layers, sizes, is_shared=is_shared)
        self.norm = sizes.final_norm()

    def start(self, memory: Tensor, visible: Tensor) -> TransformerState:
        """State before the first word, for the encoded source ``memory: [b, s, d]``."""
        layers = tuple(cast("DecoderLayer", layer).start(memory) for layer in self.layers)
        return TransformerState(layers, visible)

    def forward(self, hidden: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """``hidden: [b, n, d]`` → ``[b, n, d]``, and the state after these words."""
        length = hidden.size(1)
        causal = causal_mask(length, state.seen, hidden.device) if length > 1 else None
        after = []
        for layer, before in zip(self.layers, state.layers, strict=True):
            hidden, layer_state = layer(hidden, before, causal, state.visible)
            after.append(layer_state)
        return self.norm(hidden), TransformerState(tuple(after), state.visible)


class Transformer(Network):
    """Encoder and decoder stacks over word embeddings and sinusoidal positions.

    Shape legend: ``b`` batch, ``s`` source length, ``n`` target length, ``d`` width, ``w`` target words.
    The defaults are the paper's: 6 + 6 layers, width 512, 8 heads, feed-forward 2048, residual dropout 0.1.

    Args:
        source_words: size of the source vocabulary, specials included.
        target_words: size of the target vocabulary, specials included.
        width: width ``d`` of embeddings and layers, even.
        encoder_layers: number of encoder layers.
        decoder_layers: number of decoder layers.
        heads: number of attention heads ``h``; divides ``width``.
        feed_forward: inner width of the feed-forward sublayers.
        dropout: share dropped from embeddings and sublayer outputs in training.
        attention_dropout: share of attention weights dropped in training.
        relu_dropout: share dropped inside the feed-forward sublayers in training.
        norm: ``"post"`` (as published) or ``"pre"`` (steadier in training).
        embedding_width: width of narrow tables, which a projection that all words share widens to ``width`` (Lan et al.
            2020, "ALBERT", section 3.1); likewise before the softmax. None for tables of ``width``.
        share_layers: whether all encoder layers have the same weights, and all decoder layers (ALBERT, section 3.1,
            "Cross-layer parameter sharing").

    Raises:
        SettingsError: if a vocabulary has no word besides the specials, a size is below 1, a dropout is outside
            0 … 1, ``norm`` is neither name, ``width`` is odd or no multiple of ``heads``, or ``embedding_width`` is not
            less.
    """

    def __init__(
        self,
        source_words: int,
        target_words: int,
        *,
        width: int = 512,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        heads: int = 8,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        norm: str = "post",
        embedding_width: int | None = None,
        share_layers: bool = False,
    ) -> None:
        super().__init__()
        check_least(len(SPECIALS) + 1, source_words=source_words, target_words=target_words)
        check_sizes(
            width=width,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers,
            heads=heads,
            feed_forward=feed_forward,
            **({} if embedding_width is None else {"embedding_width": embedding_width}),
        )
        check_shares(dropout=dropout, attention_dropout=attention_dropout, relu_dropout=relu_dropout)
        check_name("norm", norm, ("pre", "post"))
        if width % 2:
            raise SettingsError(f"width {width} is odd: sinusoidal positions need an even width")
        if embedding_width is not None and embedding_width >= width:
            raise SettingsError(f"embedding_width is {embedding_width}: expected less than width, {width}, or None")
        sizes = LayerSizes(width, heads, feed_forward, dropout, attention_dropout, relu_dropout, norm)
        self.width = width
        self.source_embedding = table(source_words, width, embedding_width)
        self.target_embedding = table(target_words, width, embedding_width)
        self.encoder = Encoder(encoder_layers, sizes, is_shared=share_layers)
        self.decoder = Decoder(decoder_layers, sizes, is_shared=share_layers)
        self.softmax = (
            nn.Linear(width, target_words, bias=False)
            if embedding_width is None
            else FactoredLinear(width, target_words, embedding_width, bias=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.apply(initialize)

    def embed(self, table: nn.Module, words: Tensor, first: int) -> Tensor:
        """``words: [b, n]`` at positions ``first …`` → ``[b, n, d]``."""
        positions = sinusoids(first, words.size(1), self.width, words.device)
        embedded: Tensor = self.dropout(table(words) * math.sqrt(self.width) + positions)
        return embedded

    def encode(self, source: Tensor) -> TransformerState:
        """``source: [b, s]`` → the state before the first target word."""
        visible = (source != PAD)[:, None, None, :]
        memory = self.encoder(self.embed(self.source_embedding, source, 0), visible)
        return self.decoder.start(memory, visible)

    def step(self, words: Tensor, state: DecoderState) -> tuple[Tensor, TransformerState]:
        """``words: [b, n]`` → scores ``[b, n, w]`` and the state after them."""
        if not isinstance(state, TransformerState):
            raise TypeError(
                f"state is a {type(state).__name__}: pass the TransformerState that encode or step returned"
            )
        hidden = self.embed(self.target_embedding, words, state.seen)
        hidden, after = self.decoder(hidden, state)
        return self.softmax(hidden), after


def stack(layer: type[Layer], layers: int, sizes: LayerSizes, *, is_shared: bool) -> nn.ModuleList:
    """New layers, or one so many times: its weights then have several names, and a file holds them once."""
    made = [layer(sizes) for _ in range(1 if is_shared else layers)]
    return nn.ModuleList(made * layers if is_shared else made)


def table(words: int, width: int, narrow: int | None) -> nn.Embedding | FactoredEmbedding:
    """A new table of word vectors: of ``width``, or of ``narrow`` and a projection to ``width``."""
    if narrow is None:
        return nn.Embedding(words, width, padding_idx=PAD)
    return FactoredEmbedding(words, width, narrow, padding_idx=PAD)


def initialize(module: nn.Module) -> None:
    """Glorot-uniform linear maps with zero biases; embeddings of variance 1/d, so 1 once scaled by √d.

    Those of factors have such values from their constructors.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        with torch.no_grad():
            module.weight[PAD].zero_()
