"""Zeros apart: every form restores the same bits, measured bytes choose, and positions that cannot be are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress import Half, Interval, KMeans, Logarithmic, Plan, Prune, Raw, Rule, compress
from lightning_compress.errors import FormatError
from lightning_compress.quantize import IndexedPayload, SparsePayload, sparse_forms, store_pruned
from lightning_compress.quantize.composite.sparse import bitmap_of, gaps_of

WEIGHTS = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
ROWS = WEIGHTS * (torch.arange(40) % 8 < 3)[:, None]
LARGE = torch.randn(400, 500, generator=torch.Generator().manual_seed(1))
LARGE_ROWS = LARGE * (torch.arange(400) % 8 < 3)[:, None]
SPECIAL = torch.cat([torch.tensor([float("nan"), 1e-45, -0.0, 3.4e38, float("inf")]), torch.zeros(500), WEIGHTS[0]])
DENSE = {
    "raw": Raw().store(ROWS),
    "raw, special": Raw().store(SPECIAL),
    "integers": Raw().store(ROWS.round().to(torch.int16)),
    "booleans": Raw().store(ROWS > 0),
    "complex": Raw().store(torch.complex(ROWS, ROWS)),
    "float8": Raw().store(ROWS.to(torch.float8_e4m3fn)),
    "half": Half().store(ROWS),
    "half, special": Half("float16", "nearest").store(SPECIAL),
    "pruned": store_pruned(WEIGHTS, Half(), (ROWS == 0).reshape(-1)),
    "interval": Interval(4, 0.9).fit([WEIGHTS]).store(WEIGHTS, Half(), pruned=(ROWS == 0).reshape(-1)),
    "k-means": KMeans(5, outliers=0.1).fit([WEIGHTS]).store(ROWS, Raw()),
    "k-means, 256 values and 0": KMeans(255).fit([WEIGHTS]).store(ROWS, Raw()),
}


def words(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("dense", DENSE.values(), ids=DENSE)
def test_forms_restore_the_same_bits(dense):
    forms = list(sparse_forms(dense))
    assert [form.form for form in forms] == ["gaps", "bitmap"]
    expected = dense.restore()
    for form in forms:
        found = form.restore()
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert torch.equal(words(found), words(expected))
        assert form.count == form.values.restore().numel() < expected.numel()


WHOLE = {
    "no zeros": Raw().store(WEIGHTS),
    "few zeros": Half().store(torch.cat([WEIGHTS[0], torch.zeros(3)])),
    "empty": Raw().store(torch.empty(0)),
    "zeros one by one": store_pruned(LARGE, Half(), (LARGE < 0).reshape(-1)),
    "elements of 16 bytes": Raw().store(torch.zeros(5, dtype=torch.complex128)),
    "scales by row": Logarithmic(3, "row").fit([ROWS]).store(ROWS, Raw(), pruned=(ROWS == 0).reshape(-1)),
}


@pytest.mark.parametrize("dense", WHOLE.values(), ids=WHOLE)
def test_what_promises_no_fewer_bytes_stays_whole(dense):
    assert list(sparse_forms(dense)) == []


@pytest.mark.parametrize(
    "methods", [(Half(),), (Raw(),), (Prune(0.625), Half()), (Prune(0.625), KMeans(8), Half())], ids=repr
)
def test_the_file_takes_the_form_of_fewest_bytes(methods):
    archive = compress({"w": LARGE_ROWS, "v": LARGE}, Plan(Rule("w", *methods), Rule("v", *methods)))
    sparse, dense = archive.manifest.entries
    assert sparse.kind == "sparse"
    assert dense.kind != "sparse"
    assert torch.equal(archive.restore()["w"] == 0, LARGE_ROWS == 0)
    archive.verify()


def test_all_zeros_need_no_values():
    archive = compress({"w": torch.zeros(1000, dtype=torch.float64)}, Plan(Rule("*", Raw())))
    assert torch.equal(archive.restore()["w"], torch.zeros(1000, dtype=torch.float64))


@given(st.sets(st.integers(0, 299), min_size=1), st.sampled_from(["gaps", "bitmap"]))
def test_positions_round_trip(positions, form):
    kept = np.array(sorted(positions), np.int64)
    payload = SparsePayload.of(kept, form, Raw().store(torch.arange(1.0, 1 + len(kept))), (3, 100))
    streams = payload.streams()
    again = SparsePayload.from_streams(payload.parameters(), (3, 100), torch.float32, streams)
    assert np.array_equal(np.concatenate([np.empty(0), *again.places()]), kept)
    expected = torch.zeros(300)
    expected[torch.from_numpy(kept)] = torch.arange(1.0, 1 + len(kept))
    assert torch.equal(again.restore(), expected.reshape(3, 100))


def test_gaps_and_bitmaps_as_the_format_says():
    kept = np.array([0, 1, 4, 9])
    assert gaps_of(kept).tolist() == [0, 0, 2, 4]
    assert bitmap_of(kept, 10).tolist() == [0b00010011, 0b10]
    assert gaps_of(np.array([300])).dtype.itemsize == 2
    assert gaps_of(np.array([1 << 40])).dtype.itemsize == 8


def refuses(form, positions, count, message):
    parameters = {"positions": form, "width": 1, "count": count, "values": {"kind": "raw"}}
    streams = {"positions": np.array(positions, np.uint8), "value_values": np.zeros(count, "<u4")}
    with pytest.raises(FormatError, match=message):
        SparsePayload.from_streams(parameters, (10,), torch.float32, streams)


def test_positions_that_cannot_be_are_refused():
    refuses("gaps", [10], 1, "lies 10 elements on, in a tensor of 10")
    refuses("gaps", [5, 5], 2, "an element lies at 11, in a tensor of 10")
    refuses("bitmap", [0, 4], 1, "marks elements beyond the 10")
    refuses("bitmap", [3, 0], 1, "keeps 1 elements, and marks 2")
    refuses("bitmap", [0, 0], 1, "keeps 1 elements, and marks 0")


def test_an_index_less_codebook_gives_its_outliers_to_the_sparse_form():
    dense = DENSE["pruned"]
    assert isinstance(dense, IndexedPayload)
    assert all(form.values is dense.outliers for form in sparse_forms(dense))
