"""Words in groups by context, and back, against a walk of one weight at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid import classes as classes_module
from lightning_compress.quantize.grid.classes import choose_classes, log_scales, scale_classes
from lightning_compress.quantize.grid.contexts import Classes, group, ungroup, ungroup_along_trellis
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES


def matrix(rows, columns, seed, scales=(1.0, 1.0)):
    """Indices ``[columns, rows]`` whose scale grows along rows and columns by these factors, shuffled."""
    chance = np.random.default_rng(seed)
    by_row = chance.permutation(np.geomspace(1, scales[0], rows))
    by_column = chance.permutation(np.geomspace(1, scales[1], columns))
    return np.rint(chance.normal(size=(columns, rows)) * 1.5 * by_row * by_column[:, None]).astype(np.int16)


def some_classes(rows, columns, seed, sides="rc"):
    chance = np.random.default_rng(seed)
    of_rows, of_columns = (chance.integers(0, 4, n).astype(np.uint8) for n in (rows, columns))
    return Classes(of_rows if "r" in sides else None, of_columns if "c" in sides else None)


def zigzag(indices):
    return np.where(indices < 0, -2 * indices.astype(int) - 1, 2 * indices.astype(int)).astype(np.uint16)


def reference_groups(indices, classes, trellis):
    """Words by context, one weight at a time: column by column, each from the first row to the last."""
    columns, rows = indices.shape
    queues = [[] for _ in range(classes.contexts(1 if trellis is None else 2))]
    state = [0] * rows
    for column in range(columns):
        for row in range(rows):
            context = 0 if classes.rows is None else int(classes.rows[row])
            context += 0 if classes.columns is None else int(classes.columns[column])
            index = int(indices[column, row])
            if trellis is not None:
                context = 2 * context + trellis.quantizer[state[row]]
                state[row] = trellis.following[state[row]][index % 2]
            queues[context].append(2 * index if index >= 0 else -2 * index - 1)
    return queues


CASES = {"none": "", "rows": "r", "columns": "c", "both": "rc"}


@pytest.mark.parametrize("sides", CASES.values(), ids=CASES)
@pytest.mark.parametrize("states", [0, 4, 8, 128])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (40, 1), (23, 31)])
def test_groups_and_back(rows, columns, states, sides):
    indices = matrix(rows, columns, 0)
    classes = some_classes(rows, columns, 1, sides)
    trellis = TRELLISES.get(states)
    quantizers = None if trellis is None else trellis.quantizers(indices)
    contexts = classes.map(rows, columns, quantizers)
    words, groups = group(zigzag(indices), contexts, classes.contexts(1 if trellis is None else 2))
    queues = reference_groups(indices, classes, trellis)
    assert groups == tuple(map(len, queues))
    assert words.tolist() == [word for queue in queues for word in queue]
    if trellis is None:
        assert np.array_equal(ungroup(words, groups, contexts), zigzag(indices))
    else:
        taken, found = ungroup_along_trellis(words, groups, classes, (rows, columns), trellis)
        assert np.array_equal(taken, zigzag(indices))
        assert np.array_equal(found, quantizers)


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([*TRELLISES]),
    st.sampled_from([*CASES.values()]),
    st.integers(0, 1 << 30),
)
@settings(max_examples=60)
def test_every_walk_leads_back(rows, columns, states, sides, seed):
    indices, classes, trellis = matrix(rows, columns, seed), some_classes(rows, columns, seed, sides), TRELLISES[states]
    contexts = classes.map(rows, columns, trellis.quantizers(indices))
    words, groups = group(zigzag(indices), contexts, classes.contexts(2))
    assert np.array_equal(ungroup_along_trellis(words, groups, classes, (rows, columns), trellis)[0], zigzag(indices))


def test_groups_of_other_sizes_are_refused():
    indices, classes = matrix(20, 10, 2), some_classes(20, 10, 3)
    trellis = TRELLISES[8]
    contexts = classes.map(20, 10)
    words, groups = group(zigzag(indices), contexts, classes.contexts(1))
    moved = (groups[0] + 1, groups[1] - 1, *groups[2:])
    with pytest.raises(FormatError, match=f"context 0 is said to have {moved[0]} weights, and .* has {groups[0]}"):
        ungroup(words, moved, contexts)
    words, groups = group(zigzag(indices), classes.map(20, 10, trellis.quantizers(indices)), classes.contexts(2))
    for lie in ((groups[0] + 1, groups[1] - 1, *groups[2:]), (200, *[0] * (len(groups) - 1)), groups[::-1]):
        with pytest.raises(FormatError, match=r"context \d+ is said to have"):
            ungroup_along_trellis(words, lie, classes, (20, 10), trellis)


class TestScaleClasses:
    def test_they_follow_the_scales_of_rows_and_columns(self):
        chance = np.random.default_rng(4)
        by_row, by_column = 2.0 ** chance.integers(0, 3, 300), 2.0 ** chance.integers(0, 2, 200)
        indices = np.rint(chance.normal(size=(200, 300)) * 3 * by_row * by_column[:, None]).astype(np.int16)
        rows, columns = scale_classes(*log_scales(indices), 64)
        assert np.abs(rows - 3 * np.log2(by_row)).max() <= 1
        assert np.abs(columns - 3 * np.log2(by_column)).max() <= 1

    @pytest.mark.parametrize("most", [1, 2, 8, 16])
    def test_they_are_no_more_than_asked_for(self, most):
        rows, columns = scale_classes(*log_scales(matrix(200, 150, 5, (300, 300))), most)
        assert int(rows.min()) == int(columns.min()) == 0
        assert int(rows.max()) + int(columns.max()) + 1 <= most

    @pytest.mark.parametrize("shape", [(40, 6000), (5000, 30), (4100, 2100)])
    def test_scales_of_a_large_matrix_are_those_of_its_rows_and_columns(self, shape):
        random = np.random.default_rng(0)
        of_columns, of_rows = (2.0 ** random.integers(0, 4, size) for size in shape)
        indices = np.rint(random.standard_normal(shape) * 4 * of_columns[:, None] * of_rows).astype(np.int16)
        rows, columns = log_scales(indices)
        for found, scales in ((rows, of_rows), (columns, of_columns)):
            assert (found - 3 * np.log2(scales)).std() < 0.8  # of 40 normal numbers alone it would be 0.6

    def test_rows_of_zeros_are_no_trouble(self):
        indices = matrix(30, 20, 6)
        indices[:, :10] = 0
        indices[5] = 0
        rows, columns = scale_classes(*log_scales(indices), 8)
        assert rows[:10].max() < rows[10:].min()
        assert columns[5] == columns.min()


class TestChoice:
    @pytest.mark.parametrize(
        ("scales", "sides"),
        [((1, 1), (False, False)), ((8, 1), (True, False)), ((1, 8), (False, True)), ((8, 8), (True, True))],
    )
    @pytest.mark.parametrize("states", [0, 8])
    def test_a_side_has_classes_where_they_pay(self, scales, sides, states):
        indices = matrix(300, 200, 7, scales)
        quantizers = TRELLISES[states].quantizers(indices) if states else None
        classes = choose_classes(indices, quantizers)
        assert (classes.rows is not None, classes.columns is not None) == sides
        assert classes.contexts(2 if states else 1) <= 128

    def test_fine_indices_have_classes_too(self):
        indices = (matrix(300, 200, 8, (8, 1)).astype(np.int32) * 200).clip(-32000, 32000).astype(np.int16)
        classes = choose_classes(indices, None)
        assert classes.rows is not None
        assert classes.columns is None

    @pytest.mark.parametrize("scales", [(1, 1), (8, 1), (1, 8), (8, 8)])
    def test_a_large_matrix_is_judged_by_some_of_its_columns(self, monkeypatch, scales):
        indices = matrix(500, 400, 9, scales)
        whole = choose_classes(indices, None)
        monkeypatch.setattr(classes_module, "_COUNTED", indices.size // 8)
        counted, count = [], classes_module._count_symbols
        monkeypatch.setattr(
            classes_module, "_count_symbols", lambda part, *rest: counted.append(part.size) or count(part, *rest)
        )
        judged = choose_classes(indices, None)
        assert set(counted) == {indices.size // 8}
        assert (judged.rows is None, judged.columns is None) == (whole.rows is None, whole.columns is None)

    @pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 99), (99, 1), (2, 2)])
    def test_small_matrices_have_none(self, shape):
        classes = choose_classes(np.zeros(shape, np.int16), None)
        assert classes.rows is None
        assert classes.columns is None
