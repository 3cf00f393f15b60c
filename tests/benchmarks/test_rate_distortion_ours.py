"""This package's families and its search, on a model of 32 thousand weights."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.rate_distortion.measure import measure
from benchmarks.rate_distortion.methods import ours
from benchmarks.rate_distortion.methods.calibration import PAD, Text
from benchmarks.rate_distortion.methods.method import Method
from benchmarks.rate_distortion.points import Point, Store
from benchmarks.rate_distortion.source import Source
from lightning_compress import load
from lightning_compress.search.effort import EFFORTS

pytestmark = pytest.mark.usefixtures("quick_coding", "quick_predictions")

METHODS = {method.name: method for method in ours.METHODS}
FEW = (-2.0, -1.0, 0.0)


@pytest.fixture(autouse=True)
def few_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "STRENGTHS", FEW)


def run(source: Source, method: Method, folder: Path) -> list[Point]:
    store = Store(folder / "points.csv")
    return list(measure(source, method, ["val"], store, {"val": 40.0}, folder / "files"))


@pytest.mark.parametrize("name", ["data-free", "observed", "calibrated"])
def test_a_stronger_file_of_a_family_is_smaller_and_worse(larger: Source, tmp_path: Path, name: str) -> None:
    points = run(larger, METHODS[name], tmp_path)
    assert [point.setting for point in points] == ["strength=-2", "strength=-1", "strength=0"]
    assert {point.evaluations for point in points} == {0}
    assert all(one.ratio < other.ratio and one.bleu > other.bleu for one, other in pairwise(points))


def test_every_point_keeps_its_file(larger: Source, tmp_path: Path) -> None:
    for point in run(larger, METHODS["data-free"], tmp_path):
        file = tmp_path / "files" / point.content
        assert file.stat().st_size == point.bytes
        assert larger.bleu(load(file), "val") == pytest.approx(point.bleu, abs=1e-4)


def test_families_begin_with_the_trained_weights_whatever_was_measured_before(larger: Source, tmp_path: Path) -> None:
    def files() -> list[bytes]:
        made = []
        for name in ("observed", "calibrated"):
            candidate = next(iter(METHODS[name].candidates(larger)))
            candidate.write(tmp_path / name)
            made.append((tmp_path / name).read_bytes())
        return made

    first = files()
    larger.bleu({name: torch.zeros_like(weight) for name, weight in larger.state.items()}, "val")
    assert files() == first


def test_searches_without_and_with_data_are_feasible_and_report_their_cost(larger: Source, tmp_path: Path) -> None:
    points = run(larger, METHODS["auto"], tmp_path)
    assert [point.setting for point in points] == ["no data", "calibrated"]
    for point in points:
        assert -ours.MAX_DROP <= point.change <= 0
        assert point.ratio > 5
        assert 3 <= point.evaluations <= EFFORTS["default"].evaluations
        assert point.seconds > 0
    assert larger.yardstick.calls.count("val") >= sum(point.evaluations for point in points)


def test_calibration_is_the_training_text_without_padding(larger: Source) -> None:
    text = Text(larger)
    assert [len(batch) for batch in text] == [len(batch) for batch in text] == [3] * 4
    batch = next(iter(text))
    module = larger.yardstick.model
    scores = text.outputs(module, batch)
    assert scores.shape == (int((batch[2] != PAD).sum()), 3)
    assert scores.shape[0] < batch[2].numel()
    expected = nn.functional.cross_entropy(
        module(batch[0], batch[1]).flatten(0, 1), batch[2].flatten(), ignore_index=PAD
    )
    assert text.loss(module, batch).item() == pytest.approx(expected.item(), rel=1e-6)
