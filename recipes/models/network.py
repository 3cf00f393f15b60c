"""What a translation network offers to training and to search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn
from typing_extensions import Self


class DecoderState(Protocol):
    """The decoder state between two steps. It is passed along and never stored in a network."""

    def select(self, rows: Tensor) -> Self:
        """The state of other batch rows, ``rows: [n]``: which row to take for each new one, repeats allowed."""


class Network(nn.Module, ABC):
    """Source and target word ids in, scores of the next target word out.

    A new kind of network implements :meth:`encode` and :meth:`step`: training and search use only these.
    """

    @abstractmethod
    def encode(self, source: Tensor) -> DecoderState:
        """Read the source.

        Args:
            source: ``[batch, source_length]`` word ids, each row ended by ``EOS`` and padded with ``PAD``.

        Returns:
            the state before the first target word.
        """

    @abstractmethod
    def step(self, words: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Read one or more target words.

        Args:
            words: ``[batch, length]``, the target words that follow those the state has seen.
            state: the state before these words.

        Returns:
            scores ``[batch, length, target_words]`` (logits) of the word after each of ``words``, and the state
            after them.
        """

    def forward(self, source: Tensor, previous: Tensor) -> Tensor:
        """Scores ``[batch, target_length, target_words]`` of each next word, given the reference so far."""
        scores, _ = self.step(previous, self.encode(source))
        return scores
