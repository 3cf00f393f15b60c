"""Nothing is measured twice, and nothing is believed that was not read back from a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from benchmarks.rate_distortion.measure import measure
from benchmarks.rate_distortion.methods import fp32
from benchmarks.rate_distortion.methods.method import Candidate, Method
from benchmarks.rate_distortion.points import Point, Store
from benchmarks.rate_distortion.source import Source


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text("one")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "points.csv")


class Rounding:
    """A method that rounds to multiples of a step, and counts the files it makes."""

    def __init__(self, *steps: float) -> None:
        self.steps = steps
        self.made: list[float] = []
        self.padding = b""

    def method(self, *code: Path) -> Method:
        return Method("rounding", lambda source: [self.candidate(source, step) for step in self.steps], code)

    def candidate(self, source: Source, step: float) -> Candidate:
        def write(path: Path) -> None:
            self.made.append(step)
            save_file({name: (tensor / step).round() * step for name, tensor in source.state.items()}, path)
            path.with_name("elsewhere").write_bytes(b"not counted")

        return Candidate(f"step {step}", write, load_file)


def run(source: Source, method: Method, store: Store, splits: tuple[str, ...] = ("val",)) -> list[Point]:
    return list(measure(source, method, list(splits), store, dict.fromkeys(splits, 40.0)))


def test_a_point_is_of_the_file_that_was_read_back(source: Source, store: Store, code: Path) -> None:
    (point,) = run(source, Rounding(0.5).method(code), store)
    weights = source.state.values()
    error = sum(float((weight - (weight / 0.5).round() * 0.5).square().sum()) for weight in weights)
    assert point.bleu == pytest.approx(40 - error, abs=1e-4)
    assert point.change == pytest.approx(-error, abs=1e-4)
    assert point.bytes > source.raw_bytes == 4 * sum(weight.numel() for weight in weights)
    assert point.ratio == pytest.approx(source.raw_bytes / point.bytes, abs=1e-4)
    assert (point.model, point.method, point.setting, point.split) == ("rnn", "rounding", "step 0.5", "val")


def test_the_baseline_loses_nothing(source: Source, store: Store) -> None:
    (point,) = measure(source, fp32.METHOD, ["val"], store, {})
    assert (point.bleu, point.change) == (40.0, 0.0)


def test_a_second_run_makes_and_measures_nothing(source: Source, store: Store, code: Path) -> None:
    rounding = Rounding(0.5, 0.25)
    first = run(source, rounding.method(code), store)
    assert run(source, rounding.method(code), Store(store.path)) == first
    assert rounding.made == [0.5, 0.25]
    assert source.yardstick.calls == ["val", "val"]


def test_an_interrupted_run_goes_on_where_it_stopped(source: Source, store: Store, code: Path) -> None:
    rounding = Rounding(0.5, 0.25)
    next(measure(source, rounding.method(code), ["val"], store, {"val": 40.0}))
    assert len(run(source, rounding.method(code), Store(store.path))) == 2
    assert rounding.made == [0.5, 0.25]


@pytest.mark.parametrize(
    "change",
    [
        lambda source, code: code.write_text("two"),
        lambda source, code: source.yardstick.weights["score.bias"].add_(1),
    ],
    ids=["code", "weights"],
)
def test_other_code_or_weights_make_the_files_again(
    source: Source, store: Store, code: Path, change: Callable[[Source, Path], object]
) -> None:
    rounding = Rounding(0.5)
    run(source, rounding.method(code), store)
    change(source, code)
    run(Source("rnn", source.yardstick), rounding.method(code), store)
    assert rounding.made == [0.5, 0.5]


def test_bleu_is_not_measured_again_when_the_new_file_holds_the_same_weights(
    source: Source, store: Store, code: Path
) -> None:
    (before,) = run(source, Rounding(0.5).method(code), store)
    code.write_text("two")
    (after,) = run(source, Rounding(0.5).method(code), store)
    assert after.inputs != before.inputs
    assert (after.content, after.bleu) == (before.content, before.bleu)
    assert source.yardstick.calls == ["val"]


def test_a_second_text_is_measured_when_it_is_asked_for(source: Source, store: Store, code: Path) -> None:
    method = Rounding(0.5).method(code)
    run(source, method, store)
    points = run(source, method, store, ("val", "test"))
    assert [point.split for point in points] == ["val", "test"]
    assert points[1].bleu == pytest.approx(points[0].bleu - 1)
    assert source.yardstick.calls == ["val", "test"]


def test_points_of_a_setting_that_is_gone_are_dropped(source: Source, store: Store, code: Path) -> None:
    run(source, Rounding(0.5, 0.25).method(code), store)
    run(source, Rounding(0.25).method(code), store)
    assert [point.setting for point in store] == ["step 0.25"]
