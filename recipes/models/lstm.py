"""Layers of long short-term memory (Hochreiter and Schmidhuber 1997), each one fused call over all its words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from recipes.models.bahdanau import NormalizedAttention


@dataclass(frozen=True)
class LayerState:
    """State of one layer, each ``[b, d]``: its last output, and its memory cells."""

    hidden: Tensor
    cell: Tensor

    def select(self, rows: Tensor) -> LayerState:
        """The state of other batch rows, ``rows: [n]``."""
        return LayerState(self.hidden.index_select(0, rows), self.cell.index_select(0, rows))


class LstmLayer(nn.Module):
    """One LSTM layer. Dropout applies to what it reads (Zaremba et al. 2014).

    Shape legend: ``b`` batch, ``n`` words, ``r`` width read, ``d`` width of the layer.

    Args:
        reads: width ``r``.
        width: width ``d``.
        dropout: share dropped from what the layer reads in training.
    """

    def __init__(self, reads: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(reads, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def start(self, like: Tensor) -> LayerState:
        """The state before the first word, zeros, for as many rows as ``like: [b, …]`` has."""
        zeros = like.new_zeros(like.size(0), self.lstm.hidden_size)
        return LayerState(zeros, zeros)

    def forward(self, words: Tensor, before: LayerState) -> tuple[Tensor, LayerState]:
        """``words: [b, n, r]`` → ``[b, n, d]``, and the state after them."""
        given = (before.hidden[None].contiguous(), before.cell[None].contiguous())
        words = self.dropout(words)
        kind = words.device.type
        if kind == "cpu" and torch.is_autocast_enabled(kind) and not _runs_on_cpu(torch.get_autocast_dtype(kind)):
            with torch.autocast(kind, enabled=False):
                out, (hidden, cell) = self.lstm(words.float(), (given[0].float(), given[1].float()))
        else:
            out, (hidden, cell) = self.lstm(words, given)
        # torch returns a transposed view, on which a linear map in bfloat16 is hundreds of times slower on a CPU.
        out = out.flatten(0, 1).unflatten(0, words.shape[:2])
        return out, LayerState(hidden[0], cell[0])


@cache
def _runs_on_cpu(dtype: torch.dtype) -> bool:
    """Whether this processor has an LSTM of this type for autocast; some have none, and torch fails on them."""
    with torch.random.fork_rng(devices=[]):
        lstm, word = nn.LSTM(8, 8), torch.zeros(1, 1, 8)
    try:
        with torch.autocast("cpu", dtype), torch.enable_grad():
            lstm(word)
    except RuntimeError:
        return False
    return True


class BidirectionalLayer(nn.Module):
    """Two LSTM layers, one of which reads each row from its last word to its first.

    Padding behind the words stays there, so that it changes nothing.

    Args:
        reads: width ``r``.
        width: width ``d`` of each direction.
        dropout: share dropped from what each direction reads in training.
    """

    def __init__(self, reads: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.onward = LstmLayer(reads, width, dropout=dropout)
        self.reverse = LstmLayer(reads, width, dropout=dropout)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """``words: [b, n, r]`` of which ``lengths: [b]`` count → ``[b, n, 2 d]``."""
        onward, _ = self.onward(words, self.onward.start(words))
        reverse, _ = self.reverse(turn(words, lengths), self.reverse.start(words))
        return torch.cat([onward, turn(reverse, lengths)], dim=2)


class AttendingLayer(nn.Module):
    """First decoder layer: its output is the attention query, and the context goes to all layers above.

    Args:
        width: width ``d`` of the words, of the layer, and of the memory.
        dropout: share dropped from the words in training.
    """

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.recurrence = LstmLayer(width, width, dropout=dropout)
        self.attention = NormalizedAttention(width, width, width)


def turn(words: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the first ``lengths: [b]`` of each row of ``words: [b, n, r]``; what follows them stays."""
    place = torch.arange(words.size(1), device=words.device)[None]
    mirrored = lengths[:, None] - 1 - place
    return words.take_along_dim(torch.where(mirrored >= 0, mirrored, place)[:, :, None], dim=1)
