"""The RNN recipe: the shared training module around the paper's network."""

from __future__ import annotations

from typing import Any

from recipes.models.rnn import Rnn
from recipes.translation import Translation


class RnnTranslation(Translation):
    """Trains an :class:`~recipes.models.rnn.Rnn`; the defaults are the paper's sizes.

    Args:
        source_words: size of the source vocabulary, specials included.
        target_words: size of the target vocabulary, specials included.
        width: width of embeddings, layers and attention.
        layers: number of layers of the encoder, and of the decoder; 2 or more.
        dropout: share dropped from what each layer reads in training.
        bidirectional: whether the first encoder layer reads in both directions, as in GNMT.
        **training: settings of :class:`~recipes.translation.Translation`.
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
        **training: Any,
    ) -> None:
        network = Rnn(
            source_words, target_words, width=width, layers=layers, dropout=dropout, bidirectional=bidirectional
        )
        super().__init__(network, **training)
        self.save_hyperparameters(ignore=["_class_path", "_instantiator"])
