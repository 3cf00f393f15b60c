"""An LSTM whose layers have hidden units of any number, in place of ``nn.LSTM``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

_State = tuple[Tensor, Tensor]


class SmallerLSTM(nn.Module):
    """``nn.LSTM`` as one module for each layer, so that layers may have fewer hidden units than the original.

    Outputs and states have the size of the original; units that are removed are 0 in them, as they are in an LSTM whose
    weights of these units are 0, and that starts with a state of 0.

    Args:
        like: the LSTM, without projections. Its parameters are taken over, not copied.
    """

    def __init__(self, like: nn.LSTM) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = like.input_size, like.hidden_size, like.num_layers
        self.batch_first, self.bidirectional, self.dropout = like.batch_first, like.bidirectional, like.dropout
        self.layers = nn.ModuleList(_layer(like, index) for index in range(like.num_layers))
        positions = torch.arange(like.hidden_size, device=like.weight_ih_l0.device)
        for index in range(like.num_layers):
            for suffix in self._suffixes:
                self.register_buffer(f"units_l{index}{suffix}", positions.clone())
        self.train(like.training)

    @property
    def lstms(self) -> list[nn.LSTM]:
        """The layers."""
        return [each for each in self.layers if isinstance(each, nn.LSTM)]

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def flatten_parameters(self) -> None:
        """As of ``nn.LSTM``."""
        for layer in self.lstms:
            layer.flatten_parameters()

    def forward(
        self, sequence: Tensor | PackedSequence, state: _State | None = None
    ) -> tuple[Tensor | PackedSequence, _State]:
        """As ``nn.LSTM.forward``."""
        states: list[_State] = []
        for index, layer in enumerate(self.lstms):
            before = None if state is None else self._narrow(state, index)
            sequence, after = layer(sequence, before)
            states.append(self._widen_state(after, index))
            if index + 1 < self.num_layers:
                sequence = _mapped(sequence, self._drop)
        output = _mapped(sequence, lambda each: self._widen(each, self.num_layers - 1))
        hidden, cell = (torch.cat(parts) for parts in zip(*states, strict=True))
        return output, (hidden, cell)

    def _drop(self, hidden: Tensor) -> Tensor:
        return F.dropout(hidden, self.dropout, self.training)

    def _units(self, index: int) -> list[Tensor]:
        """The original positions of the units of a layer, for each direction."""
        return [getattr(self, f"units_l{index}{suffix}") for suffix in self._suffixes]

    def _narrow(self, state: _State, index: int) -> _State:
        units = self._units(index)
        first = index * len(units)
        hidden, cell = (
            torch.stack([each[first + order].index_select(-1, places) for order, places in enumerate(units)])
            for each in state
        )
        return hidden, cell

    def _widen_state(self, state: _State, index: int) -> _State:
        units = self._units(index)
        hidden, cell = (
            torch.stack([_scattered(each[order], places, self.hidden_size) for order, places in enumerate(units)])
            for each in state
        )
        return hidden, cell

    def _widen(self, output: Tensor, index: int) -> Tensor:
        """``[…, directions · units]`` → ``[…, directions · hidden size]``."""
        units = self._units(index)
        parts = torch.split(output, [len(each) for each in units], -1)
        return torch.cat(
            [_scattered(part, places, self.hidden_size) for part, places in zip(parts, units, strict=True)], -1
        )


def _layer(like: nn.LSTM, index: int) -> nn.LSTM:
    """One layer of an LSTM, with its parameters."""
    directions = 1 + like.bidirectional
    reads = like.input_size if index == 0 else like.hidden_size * directions
    options = {"bias": like.bias, "batch_first": like.batch_first, "bidirectional": like.bidirectional}
    layer = nn.LSTM(reads, like.hidden_size, device="meta", **options)
    for name, _ in list(layer.named_parameters()):
        setattr(layer, name, getattr(like, name.replace("_l0", f"_l{index}")))
    return layer


def _scattered(values: Tensor, places: Tensor, size: int) -> Tensor:
    """``[…, units]`` → ``[…, size]``, 0 at other places."""
    wide = values.new_zeros(*values.shape[:-1], size)
    return wide.index_copy(-1, places, values)


def _mapped(sequence: Tensor | PackedSequence, function: Callable[[Tensor], Tensor]) -> Tensor | PackedSequence:
    if isinstance(sequence, PackedSequence):
        return sequence._replace(data=function(sequence.data))
    return function(sequence)
