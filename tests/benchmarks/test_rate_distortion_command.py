"""The one command, from weights to CSV and pictures."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.rate_distortion import __main__ as command
from benchmarks.rate_distortion.picture import LABEL_DISTANCE, STYLES, apart, draw
from benchmarks.rate_distortion.points import Point, read_points

pytest.importorskip("matplotlib")


def point(method: str, ratio: float, bleu: float, model: str = "rnn") -> Point:
    return Point(model, method, f"{ratio}", "val", 1000, ratio, bleu, bleu - 33, 1.0, "in", "out")


POINTS = [point("fp32", 1.0, 33.0), *(point(name, 9.0 + k % 3, 32.5 - k / 10) for k, name in enumerate(STYLES))]


def test_points_and_pictures_come_out_of_one_command(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    docs.mkdir()
    monkeypatch.setattr(
        sys,
        "argv",
        f"rate_distortion --models {models} --out {out} --docs {docs} --method presets --method int4 --test".split(),
    )
    command.main()
    points = read_points(out / "points.csv")
    assert {(p.model, p.method, p.split) for p in points} == {
        (model, method, split)
        for model in ("transformer", "rnn")
        for method in ("fp32", "presets", "int4")
        for split in ("val", "test")
    }
    assert len(points) == 2 * 2 * (1 + 3 + 6)
    assert len(capsys.readouterr().out.splitlines()) == 2 * 2 * (3 + 6)
    for name in command.RESULTS:
        assert (docs / f"rate-distortion{Path(name).suffix}").read_bytes() == (out / name).read_bytes()


def test_an_unknown_method_is_refused(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", f"rate_distortion --models {models} --out {tmp_path} --method gzip".split())
    with pytest.raises(SystemExit, match="2"):
        command.main()


def test_what_draws_is_missed_before_anything_is_measured(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", f"rate_distortion --models {models} --out {tmp_path / 'out'}".split())
    with pytest.raises(SystemExit, match=r"matplotlib, .* is not installed: pip install"):
        command.main()
    assert not (tmp_path / "out").exists()


def test_every_curve_has_its_name_beside_it(tmp_path: Path) -> None:
    draw([*POINTS, point("fp32", 1.0, 35.0, "transformer")], [tmp_path / "picture.svg"])
    text = (tmp_path / "picture.svg").read_text()
    for style in STYLES.values():
        assert text.count(f">{style.label}</text>") == 1, style.label
    assert re.search(">RNN</text>", text)
    assert re.search(">Transformer</text>", text)


def test_what_the_search_found_is_drawn_as_single_points(tmp_path: Path) -> None:
    pair = [point("auto", 12.0, 32.7), point("auto", 17.0, 32.6)]
    curve = [point("calibrated", 12.0, 32.7), point("calibrated", 17.0, 32.6)]
    lines = []
    for name, points in (("single", pair), ("curve", curve)):
        draw([POINTS[0], *points], [tmp_path / f"{name}.svg"])
        text = (tmp_path / f"{name}.svg").read_text()
        colour = STYLES[points[0].method].colour.lower()
        lines.append(len(re.findall(rf"stroke: {colour}; stroke-width: 1.5", text)))
    assert lines == [0, 1]


def test_labels_of_curves_that_end_together_stand_apart() -> None:
    heights = apart({"one": (20.0, 30.0), "two": (21.0, 30.1), "three": (19.0, 30.0), "far": (8.0, 30.0)})
    assert (heights["two"], heights["far"]) == (30.1, 30.0)
    together = sorted(heights[label] for label in ("one", "two", "three"))
    assert all(b - a >= LABEL_DISTANCE - 1e-9 for a, b in pairwise(together))


def test_the_same_points_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw(POINTS, [tmp_path / f"{name}.svg", tmp_path / f"{name}.png"])
    for suffix in ("svg", "png"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_a_label_stands_at_the_last_point_within_the_picture(tmp_path: Path) -> None:
    place = re.compile(r'x="([^"]*)" y="([^"]*)"[^>]*>auto</text>')
    draw(POINTS, [tmp_path / "without.svg"])
    draw([*POINTS, point("auto", 12.0, 3.0)], [tmp_path / "with.svg"])
    without, beyond = (place.findall((tmp_path / f"{name}.svg").read_text()) for name in ("without", "with"))
    assert len(without) == 1
    assert beyond == without


def test_a_missing_baseline_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no point of fp32 for rnn: measure it first"):
        draw(POINTS[1:], [tmp_path / "picture.svg"])
