"""The Transformer recipe: the shared training module around the paper's network."""

from __future__ import annotations

from typing import Any, Literal

from recipes.models.transformer import Transformer
from recipes.translation import Translation


class TransformerTranslation(Translation):
    """Trains a :class:`~recipes.models.transformer.Transformer`; the defaults are the paper's sizes.

    Args:
        source_words: size of the source vocabulary, specials included.
        target_words: size of the target vocabulary, specials included.
        width: width of embeddings and layers, even.
        encoder_layers: number of encoder layers.
        decoder_layers: number of decoder layers.
        heads: number of attention heads; divides ``width``.
        feed_forward: inner width of the feed-forward sublayers.
        dropout: share dropped from embeddings and sublayer outputs in training.
        attention_dropout: share of attention weights dropped in training.
        relu_dropout: share dropped inside the feed-forward sublayers in training.
        norm: ``post`` (as published) or ``pre`` (steadier in training).
        embedding_width: width of narrow tables of words, which a projection widens; None for tables of ``width``.
        share_layers: whether all encoder layers have the same weights, and all decoder layers.
        **training: settings of :class:`~recipes.translation.Translation`.
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
        norm: Literal["pre", "post"] = "post",
        embedding_width: int | None = None,
        share_layers: bool = False,
        **training: Any,
    ) -> None:
        network = Transformer(
            source_words,
            target_words,
            width=width,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers,
            heads=heads,
            feed_forward=feed_forward,
            dropout=dropout,
            attention_dropout=attention_dropout,
            relu_dropout=relu_dropout,
            norm=norm,
            embedding_width=embedding_width,
            share_layers=share_layers,
        )
        super().__init__(network, **training)
        self.save_hyperparameters(ignore=["_class_path", "_instantiator"])
