"""Grid payloads of every form against the reference reader, written from the specification."""

from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest
import torch
from each_case import naming
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.grid import grid_streams, grid_values, rows_and_columns

from lightning_compress.errors import FormatError
from lightning_compress.quantize import Grid, GridGuide, GridPayload, Raw
from lightning_compress.quantize.grid.matrix import matrix_shape
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES

SHAPES = [(), (9,), (1, 9), (30, 20), (1, 1, 30, 20), (6, 5, 2, 3), (40, 1)]


def payload_of(shape, dtype, states, guided, seed=0, offsets=False):
    generator = torch.Generator().manual_seed(seed)
    rows, columns = matrix_shape(shape)
    by_row = torch.linspace(0.3, 3, rows)[:, None]
    means = 4 * torch.randn(columns, generator=generator) if offsets else torch.zeros(columns)
    tensor = (torch.randn(rows, columns, generator=generator) * by_row + means).reshape(shape).to(dtype)
    guide = GridGuide(torch.randint(-100, 100, (rows,), generator=generator, dtype=torch.int32)) if guided else None
    return Grid(0.11, trellis=states).fit([tensor]).store(tensor, Raw(), guide=guide)


@pytest.mark.parametrize("states", [0, *TRELLISES])
@pytest.mark.parametrize(("shape", "offsets"), [*((shape, False) for shape in SHAPES), ((90, 24), True)])
def test_the_reference_reader_restores_the_same_values(shape, offsets, states):
    for guided, dtype in product([False, True], [torch.float16, torch.bfloat16, torch.float32, torch.float64]):
        with naming((guided, dtype)):
            _check_reference(shape, offsets, states, guided, dtype)


def _check_reference(shape, offsets, states, guided, dtype):
    payload = payload_of(shape, dtype, states, guided, offsets=offsets)
    assert isinstance(payload, GridPayload)
    assert (payload.offsets is not None) == offsets
    parameters = json.loads(json.dumps(payload.parameters()))
    streams = payload.streams()
    assert grid_streams(parameters, math.prod(shape)) == {n: (len(w), w.itemsize) for n, w in streams.items()}
    values = grid_values(parameters, shape, {name: words.tolist() for name, words in streams.items()})
    single = torch.tensor(values, dtype=torch.float64)
    rounded = (single if dtype == torch.float64 else single.float()).to(dtype)
    assert torch.equal(payload.restore().reshape(-1), rounded)


def test_rows_and_columns():
    for shape in [*SHAPES, (0,), (0, 3), (3, 0), (1, 0), (1, 1)]:
        assert rows_and_columns(shape) == matrix_shape(shape)


@given(st.sampled_from([0, *TRELLISES]), st.booleans(), st.booleans(), st.integers(0, 1 << 30), st.integers(1, 4))
@settings(max_examples=120, deadline=None)
def test_changed_streams_are_refused_or_are_another_tensor(states, guided, offsets, seed, changes):
    chance = np.random.default_rng(seed)
    shape = (40, 10)
    payload = payload_of(shape, torch.float32, states, guided, seed, offsets)
    parameters, streams = payload.parameters(), {name: words.copy() for name, words in payload.streams().items()}
    for _ in range(changes):
        words = streams[chance.choice([*streams])]
        words[chance.integers(len(words))] = chance.integers(1 << chance.integers(1, 8 * words.itemsize + 1))
    try:
        other = GridPayload.from_streams(parameters, shape, torch.float32, streams)
    except FormatError:
        return
    values = grid_values(parameters, shape, {name: words.tolist() for name, words in streams.items()})
    assert torch.equal(other.restore().reshape(-1), torch.tensor(values, dtype=torch.float64).float())
