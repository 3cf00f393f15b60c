"""What is required of ours at each ratio, and whether it is met."""

import sys
from pathlib import Path

import pytest

from benchmarks.rate_distortion.compare import Row, at_ratio, compare, main, table
from benchmarks.rate_distortion.points import Point, frontier_of, write_points


def point(method: str, ratio: float, bleu: float, model: str = "rnn") -> Point:
    return Point(model, method, f"{ratio}", "val", 1000, ratio, bleu, bleu - 33, 1.0, "in", "out")


FP32 = point("fp32", 1.0, 33.0)
PEERS = [point("nncodec", ratio, bleu) for ratio, bleu in [(10, 32.8), (12, 32.0), (14, 32.2), (20, 29.2)]]


def test_the_frontier_leaves_out_what_another_point_beats() -> None:
    assert [p.ratio for p in frontier_of(PEERS)] == [10, 14, 20]
    assert frontier_of([]) == []


@pytest.mark.parametrize(
    ("ratio", "bleu"), [(9.9, None), (10, 32.8), (12, 32.5), (14, 32.2), (16, 31.2), (20, 29.2), (21, None)]
)
def test_between_points_the_straight_line_counts(ratio: float, bleu: float | None) -> None:
    assert at_ratio(frontier_of(PEERS), ratio) == (None if bleu is None else pytest.approx(bleu))


def test_half_a_bleu_more_than_nncodec_or_nearly_the_baseline_is_required() -> None:
    ours = [point("auto", 11, 32.9), point("auto", 18, 31.0)]
    rows = compare([FP32, *PEERS, *ours], ratios=[8, 10, 16, 18, 19, 24])
    assert rows == [
        Row(8, 32.9, None, 32.9),
        Row(10, 32.9, 32.8, 32.9),
        Row(16, pytest.approx(32.9 - 1.9 * 5 / 7), pytest.approx(31.2), pytest.approx(31.7)),
        Row(18, 31.0, pytest.approx(30.2), pytest.approx(30.7)),
        Row(19, None, pytest.approx(29.7), pytest.approx(30.2)),
        Row(24, None, None, pytest.approx(29.7)),
    ]
    assert [row.met for row in rows] == [True, True, False, True, False, False]


def test_only_the_methods_named_count() -> None:
    points = [FP32, *PEERS, point("auto", 18, 31.0), point("data-free", 18, 30.0), point("int4", 18, 32.0)]
    assert compare(points, ratios=[18])[0].ours == 31.0
    assert compare(points, ["data-free"], [18])[0].ours == 30.0


@pytest.mark.parametrize("missing", ["fp32", "nncodec", "auto"])
def test_a_missing_curve_is_named(missing: str) -> None:
    points = [p for p in (FP32, *PEERS, point("auto", 18, 31.0)) if p.method != missing]
    with pytest.raises(ValueError, match="expected points of fp32, of nncodec and of ours, received those of"):
        compare(points)


def test_the_table_has_a_dash_where_there_is_no_value() -> None:
    assert table([Row(8, 32.9, None, 32.9), Row(24, None, 29.25, 29.75)]).splitlines()[2:] == [
        "| 8× | 32.90 | – | 32.90 | yes |",
        "| 24× | – | 29.25 | 29.75 | no |",
    ]


@pytest.mark.parametrize(("bleu", "status"), [(32.95, 0), (30.0, 1)])
def test_the_exit_status_is_0_only_if_all_conditions_are_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bleu: float, status: int
) -> None:
    write_points(tmp_path / "points.csv", [FP32, *PEERS, point("auto", 24, bleu)])
    monkeypatch.setattr(sys, "argv", ["compare", str(tmp_path / "points.csv")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == status
    assert capsys.readouterr().out.startswith("rnn\n\n| ratio | ours | nncodec | required | met |\n")
