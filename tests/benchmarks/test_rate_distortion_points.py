"""The CSV keeps every point exactly, and says what is wrong with one that is not its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.rate_distortion.points import Point, Store, read_points, write_points

POINT = Point("rnn", "ours", 'a "quoted", setting', "val", 1000, 12.5, 31.25, -0.5, 1.5, "in", "out", 7)


def test_a_written_file_reads_back_equal(tmp_path: Path) -> None:
    points = [POINT, replace(POINT, setting="plain", ratio=0.1 + 0.2)]
    write_points(tmp_path / "points.csv", points)
    assert read_points(tmp_path / "points.csv") == points
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("model,bytes\nrnn,3\n")
    with pytest.raises(ValueError, match=r"has the columns \['model', 'bytes'\], expected \['model', 'method'"):
        Store(tmp_path / "points.csv")


def test_a_file_without_the_record_of_a_search_is_read(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    write_points(path, [POINT])
    path.write_text("".join(line.rsplit(",", 1)[0] + "\n" for line in path.read_text().splitlines()))
    assert read_points(path) == [replace(POINT, evaluations=0)]


@pytest.mark.parametrize(
    "damage", [lambda text: text.replace("1000", "many"), lambda text: text[: text.index(",1000")]]
)
def test_a_damaged_row_is_named(tmp_path: Path, damage: Callable[[str], str]) -> None:
    path = tmp_path / "points.csv"
    write_points(path, [POINT])
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"line 2: .*take the row out"):
        read_points(path)


def test_a_point_is_found_while_its_inputs_are_the_same(tmp_path: Path) -> None:
    store = Store(tmp_path / "points.csv")
    store.add(POINT)
    again = Store(tmp_path / "points.csv")
    assert again.find(POINT.place, "in") == POINT
    assert again.find(POINT.place, "other") is None
    assert again.find(replace(POINT, split="test").place, "in") is None


def test_a_newer_point_takes_the_place_of_an_older(tmp_path: Path) -> None:
    store = Store(tmp_path / "points.csv")
    store.add(POINT)
    store.add(replace(POINT, bleu=30.0))
    assert [point.bleu for point in read_points(store.path)] == [30.0]


def test_bleu_is_found_by_the_restored_weights(tmp_path: Path) -> None:
    store = Store(tmp_path / "points.csv")
    store.add(POINT)
    assert store.bleu_of("rnn", "val", "out") == 31.25
    assert store.bleu_of("rnn", "test", "out") is None
    assert store.bleu_of("transformer", "val", "out") is None


def test_settings_that_are_gone_leave_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "points.csv")
    others = [replace(POINT, setting="kept"), replace(POINT, model="transformer"), replace(POINT, method="theirs")]
    for point in (POINT, *others):
        store.add(point)
    store.keep_only("rnn", "ours", {"kept"})
    assert read_points(store.path) == others
