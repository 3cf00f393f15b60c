"""The result of a measurement: what follows from it, and JSON both ways."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from lightning_compress import Interval
from lightning_compress.errors import SearchError
from lightning_compress.search import LayerSensitivities
from lightning_compress.search.sensitivity.layers import strengths_of

NAN = math.nan


@pytest.fixture
def result():
    """Of BLEU; the encoder is robust, the softmax is not, one point is missing and one is of a broken model."""
    return LayerSensitivities(
        measure="val_bleu",
        higher_is_better=True,
        baseline=40.0,
        strengths=strengths_of([0.6, 0.2, 0.4, Interval(2)]),
        groups=("encoder.0", "decoder.0", "softmax"),
        raw_bytes=(400, 800, 1200),
        scores=np.array([[39.7, 40.1, 39.9, 38.0], [39.7, 39.9, NAN, 35.0], [20.0, 39.0, 30.0, -math.inf]]),
        bytes=np.array([[100.0, 200, 150, 25], [200, 400, NAN, 50], [300, 600, 450, 75]]),
        estimates={"normalized error": np.array([[0.3, 0.1, 0.2, 0.4], [0.3, 0.1, NAN, 0.4], [0.7, 0.5, 0.6, 0.8]])},
        step=7,
    )


def test_drops_point_downwards_whatever_the_measure(result):
    assert result.drops[0] == pytest.approx([0.3, -0.1, 0.1, 2.0])
    assert math.isnan(result.drops[1, 2])
    assert result.drops[2, 3] == math.inf
    loss = replace(result, higher_is_better=False)
    assert loss.drops[0] == pytest.approx([-0.3, 0.1, -0.1, -2.0])


def test_the_largest_ratio_keeps_the_score_at_all_smaller_ones_too(result):
    assert result.largest_ratio() == {"encoder.0": 0.6, "decoder.0": 0.2, "softmax": 0.0}
    assert result.largest_ratio(0.15) == {"encoder.0": 0.4, "decoder.0": 0.2, "softmax": 0.0}
    assert result.largest_ratio(1.0) == {"encoder.0": 0.6, "decoder.0": 0.2, "softmax": 0.2}
    assert result.largest_ratio(0.0) == {"encoder.0": 0.2, "decoder.0": 0.0, "softmax": 0.0}


def test_without_pruning_there_is_no_largest_ratio(result):
    bits = replace(result, strengths=strengths_of([Interval(b) for b in (2, 3, 4, 5)]))
    assert bits.largest_ratio() == {}
    assert "largest_ratio" not in json.loads(bits.to_json())


def test_groups_are_ranked_by_what_they_lose(result):
    ranked = result.ranked()
    assert [name for name, _ in ranked] == ["softmax", "decoder.0", "encoder.0"]
    assert ranked[0][1] == math.inf
    assert ranked[1][1] == pytest.approx((0.3 + 0.1 + 5.0) / 3)
    unknown = replace(result, scores=np.full((3, 4), NAN))
    assert unknown.ranked() == ()


def test_rows_have_the_values_that_columns_name(result):
    columns, rows = result.columns(), result.rows()
    assert columns == ["class", "strength", "val_bleu", "drop", "bytes", "raw bytes", "normalized error"]
    assert len(rows) == 12
    assert rows[0][:3] == ["encoder.0", "prune 60 %", 39.7]
    assert rows[0][4:] == [100, 400, 0.3]
    assert rows[6] == ["decoder.0", "prune 40 %", None, None, None, 800, None]
    assert rows[11][2:4] == [None, None]


def test_json_is_what_others_read_and_comes_back(result):
    document = json.loads(result.to_json(0.5))
    assert document["measure"] == "val_bleu"
    assert document["higher_is_better"] is True
    assert (document["baseline"], document["step"], document["tolerance"]) == (40.0, 7, 0.5)
    assert [strength["label"] for strength in document["strengths"]][3] == "2 bits"
    assert document["classes"] == ["encoder.0", "decoder.0", "softmax"]
    assert document["scores"][1] == [39.7, 39.9, None, 35.0]
    assert document["scores"][2][3] is None
    assert document["bytes"][0] == [100, 200, 150, 25]
    assert document["rank_correlation"]["normalized error"] == pytest.approx(
        result.rank_correlation["normalized error"]
    )
    assert document["largest_ratio"] == {"encoder.0": 0.6, "decoder.0": 0.2, "softmax": 0.0}
    again = LayerSensitivities.from_json(result.to_json(0.5))
    assert again.groups == result.groups
    assert again.strengths == result.strengths
    assert np.array_equal(again.bytes, result.bytes, equal_nan=True)
    assert again.largest_ratio() == result.largest_ratio()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"measure": "x", "classes": ["a"], "strengths": []}', '{"classes": 3, "strengths": 4}'],
)
def test_another_json_is_refused(text):
    with pytest.raises(SearchError, match=r"this is no sensitivity\.json"):
        LayerSensitivities.from_json(text)


def test_a_table_of_another_shape_is_refused(result):
    document = json.loads(result.to_json())
    document["scores"][0].pop()
    with pytest.raises(SearchError, match=r"this is no sensitivity\.json"):
        LayerSensitivities.from_json(json.dumps(document))
