"""Points on disk: read as written, shared, whole or measured again."""

import json
import logging

import numpy as np
import pytest

from lightning_compress import Half, Plan, Prune, Rule, bleu_score
from recipes.paper.measurement.cache import MeasurementCache
from recipes.paper.measurement.measurement import Conditions, Measurement, Point

SCORE = bleu_score(["a b c d e", "f g h i"], ["a b c d f", "f g h i"], tokenize="none")
MEASURED = Measurement(SCORE, raw_bytes=400, bytes=100, zeros=0.25, seconds=1.5)
HERE = Conditions("model", "text", 4, "signature")
POINT = Point(Plan(Rule("*", Prune(0.2))), HERE)


@pytest.fixture
def store(tmp_path):
    return MeasurementCache(tmp_path / "points", SCORE.combine)


def test_a_point_is_read_as_it_was_written(store):
    assert store.get(POINT) is None
    store.put(POINT, MEASURED)
    found = store.get(POINT)
    assert found.score.value == SCORE.value
    assert np.array_equal(found.score.statistics, SCORE.statistics)
    assert found.score.combine(SCORE.statistics[0]) == SCORE.combine(SCORE.statistics[0])
    assert (found.raw_bytes, found.bytes, found.zeros, found.seconds) == (400, 100, 0.25, 1.5)
    assert found.ratio == 4.0
    assert [path.name for path in store.folder.iterdir()] == [f"{POINT.key}.json"]


def test_equal_points_have_one_key_and_others_another():
    assert Point(Plan(Rule("*", Prune(0.2, "class-blind"))), HERE).key == POINT.key
    others = [
        Point(None, HERE),
        Point(Plan(Rule("*", Prune(0.25))), HERE),
        Point(Plan(Rule("*", Prune(0.2), Half())), HERE),
        *(Point(POINT.plan, Conditions(**{**vars(HERE), name: "other"})) for name in vars(HERE)),
    ]
    assert len({point.key for point in [POINT, *others]}) == len(others) + 1


@pytest.mark.parametrize("damage", ["empty", "cut", "digit", "foreign", "list", "not UTF-8", "rewritten"])
def test_a_damaged_file_is_skipped_and_logged(store, damage, caplog):
    store.put(POINT, MEASURED)
    path = store.path(POINT)
    whole = path.read_text("utf-8")
    changed = {
        "empty": "",
        "cut": whole[: len(whole) // 2],
        "digit": whole.replace('"bytes": 100', '"bytes": 101'),
        "foreign": "{}",
        "list": "[]",
        "not UTF-8": None,
        "rewritten": json.dumps({**json.loads(whole), "point": {}}),
    }[damage]
    path.write_bytes(b"\xff") if changed is None else path.write_text(changed, "utf-8")
    with caplog.at_level(logging.WARNING):
        assert store.get(POINT) is None
    assert f"{path.name} is damaged" in caplog.text
    assert "measured again" in caplog.text
    store.put(POINT, MEASURED)
    assert store.get(POINT).bytes == 100


def test_a_failed_write_leaves_nothing(store, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    store.folder.mkdir()
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        store.put(POINT, MEASURED)
    assert list(store.folder.iterdir()) == []
