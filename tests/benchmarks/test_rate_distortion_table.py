"""The smallest file within a loss is chosen on the validation text, and only that one sees the test text."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lightning_compress as lc
from benchmarks.rate_distortion import table as command
from benchmarks.rate_distortion.measure import measure
from benchmarks.rate_distortion.methods import fp32, ours
from benchmarks.rate_distortion.methods.method import Method
from benchmarks.rate_distortion.points import Point, Store, write_points
from benchmarks.rate_distortion.source import Source
from benchmarks.rate_distortion.table import measure_test, smallest_files, table


def point(method: str, setting: str, ratio: float, change: float) -> Point:
    content = f"{method}-{setting}"
    return Point("rnn", method, setting, "val", 1000, ratio, 33 + change, change, 90.0, "in", content)


POINTS = [
    point("fp32", "safetensors", 1.0, 0.0),
    point("data-free", "strength=-1", 11.0, -0.3),
    point("data-free", "strength=0", 14.0, -0.31),
    point("data-free", "strength=-2", 9.0, 0.2),
    replace(point("auto", "no data", 12.0, -0.29), evaluations=9),
    replace(point("auto", "calibrated", 17.0, -0.1), evaluations=12),
    point("calibrated", "strength=-1", 15.0, -0.2),
    point("nncodec", "qp=-20", 12.0, -0.75),
]


def test_each_kind_has_the_smallest_file_that_loses_no_more() -> None:
    found = smallest_files(POINTS, 0.3)
    assert {kind: (p.method, p.setting) for kind, p in found.items()} == {
        "fp32": ("fp32", "safetensors"),
        "no calibration data": ("auto", "no data"),
        "calibrated": ("auto", "calibrated"),
    }
    assert smallest_files(POINTS, 0.75)["NNCodec 2"].ratio == 12.0
    assert smallest_files(POINTS, 0.31)["no calibration data"].setting == "strength=0"


def test_the_table_has_the_effort_and_a_dash_where_the_test_text_was_not_used() -> None:
    found = smallest_files(POINTS, 0.3)
    test = replace(found["no calibration data"], split="test", bleu=31.5, change=-0.42)
    lines = table(found, [test]).splitlines()
    assert {line.count("|") for line in lines} == {10}
    assert lines[2] == "| fp32 | `fp32`, safetensors | 1,000 | 1.00× | 33.00 | +0.00 |  | – | – |"
    assert lines[3].startswith("| no calibration data | `auto`, no data | 1,000 | 12.00× | 32.71 | -0.29 | ")
    assert lines[3].endswith(" | 9 evaluations, 1.5 min | 31.50 | -0.42 |")
    assert lines[4].endswith(" | -0.10 | 12 evaluations, 1.5 min | – | – |")


@pytest.fixture
def measured(larger: Source, tmp_path: Path) -> Store:
    store = Store(tmp_path / "out" / "points.csv")
    store.path.parent.mkdir()
    list(measure(larger, fp32.METHOD, ["val"], store, {}))
    two = Method("data-free", lambda source: list(ours.data_free(source))[:2], ours.CODE)
    list(measure(larger, two, ["val"], store, {"val": 40.0}, store.path.parent / "files"))
    return store


def test_the_test_text_is_used_once_for_the_files_that_were_kept(larger: Source, measured: Store) -> None:
    points = [p for p in measured if p.setting != "strength=-3"]
    files = measured.path.parent / "files"
    for _ in range(2):
        measure_test(measured, larger, points, files)
    tests = [p for p in measured if p.split == "test"]
    assert [(p.method, p.setting) for p in tests] == [("fp32", "safetensors"), ("data-free", "strength=-3.25")]
    assert [p.bleu for p in tests] == [39.0, pytest.approx(points[1].bleu - 1, abs=1e-4)]
    assert [p.change for p in tests] == [0.0, pytest.approx(points[1].change, abs=1e-4)]
    assert larger.yardstick.calls.count("test") == 2


def test_a_file_that_was_not_kept_has_no_test_figure(larger: Source, measured: Store) -> None:
    shutil.rmtree(measured.path.parent / "files")
    measure_test(measured, larger, list(measured), measured.path.parent / "files")
    assert [p.method for p in measured if p.split == "test"] == ["fp32"]


def test_the_test_figure_is_of_the_file(larger: Source, measured: Store) -> None:
    chosen = next(p for p in measured if p.method == "data-free")
    zero = {name: torch.zeros_like(weight) for name, weight in larger.state.items()}
    lc.compress(zero, "half").save(measured.path.parent / "files" / "zero.safetensors")
    (measured.path.parent / "files" / "zero.safetensors").replace(measured.path.parent / "files" / chosen.content)
    measure_test(measured, larger, [chosen], measured.path.parent / "files")
    (test,) = (p for p in measured if p.split == "test")
    assert test.bleu == pytest.approx(larger.bleu(zero, "test"), abs=1e-4)


def test_one_command_prints_the_table(
    measured: Store, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", f"table {measured.path} --max-drop 39 --test --models {models}".split())
    command.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rnn"
    assert [line.split("|")[1].strip() for line in lines if line.startswith("|")][2:] == ["fp32", "no calibration data"]
    assert "–" not in lines[4] + lines[5]


def test_measuring_needs_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_points(tmp_path / "points.csv", POINTS)
    monkeypatch.setattr(sys, "argv", f"table {tmp_path / 'points.csv'} --test".split())
    with pytest.raises(SystemExit, match="2"):
        command.main()
