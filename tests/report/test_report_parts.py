"""The parts of a report: curves of a training, sensitivities, scores, differing words, values of JSON."""

from __future__ import annotations

import json
import math

import pytest
from report_runs import SEARCH, SENSITIVITY

from lightning_compress.charts import ranked_bars
from lightning_compress.errors import FormatError
from lightning_compress.report.records.json_values import MAX_BYTES, number, read_object
from lightning_compress.report.records.sensitivity import SensitivityRecord
from lightning_compress.report.records.training import TrainingCurves
from lightning_compress.report.records.translations import TranslationRecord
from lightning_compress.report.records.word_differences import WordRun, word_runs
from lightning_compress.report.scores import Scores, flat_metrics
from lightning_compress.report.svg import inline_svg


def training(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_text(content)
    return {panel.title: dict(panel.curves) for panel in TrainingCurves.read(path).panels}


def test_a_training_has_four_panels(tmp_path):
    content = (
        "compression/ratio,compression/a/bytes,epoch,step,train_loss,val_loss,val_bleu,val_chrf,lr,"
        "compression/bytes,compression/drop\n"
        ",,0,9,3.5,,,,0.1,,\n2.0,5,0,5,,2.5,20.0,30,,800,0.5\n"
    )
    assert training(tmp_path, content) == {
        "loss": {"train_loss": [(9, 3.5)], "val_loss": [(5, 2.5)]},
        "val_bleu": {"val_bleu": [(5, 20.0)]},
        "bytes of the file": {"bytes of the file": [(5, 800)]},
        "drop of the score": {"drop of the score": [(5, 0.5)]},
    }


def test_exact_and_compressed_metrics_share_a_panel_and_a_drop_has_its_interval(tmp_path):
    names = ["val_x", "quality/bleu", "quality/bleu_compressed", "compression/bleu_drop", "compression/bleu_drop_low"]
    path = tmp_path / "metrics.csv"
    header = ",".join(["step", *names, "compression/bleu_drop_high"])
    path.write_text(header + "\n1,7,30,29,1,0.5,2\n2,8,31,30,1.5,1,2.5\n")
    found = TrainingCurves.read(path)
    bleu, drop = found.panels
    assert dict(drop.curves) == {"drop of bleu": [(1, 1), (2, 1.5)]}
    assert dict(drop.intervals) == {"drop of bleu": [(0.5, 2), (1, 2.5)]}
    assert dict(bleu.curves) == {"exact weights": [(1, 30), (2, 31)], "compressed file": [(1, 29), (2, 30)]}
    assert (found.metric, found.exact) == ("bleu", ((1, 30), (2, 31)))
    path.write_text(header + "\n1,7,30,29,1,0.5,2\n2,8,31,30,1.5,1,\n")
    assert TrainingCurves.read(path).panels[1].intervals == {}


def test_of_two_drops_at_a_step_the_one_with_an_interval_counts(tmp_path):
    path = tmp_path / "metrics.csv"
    header = ",".join(["step", *(f"compression/bleu_drop{end}" for end in ("", "_low", "_high"))])
    path.write_text(header + "\n1,9,,\n2,9,,\n2,1.5,1,2.5\n")
    (drop,) = TrainingCurves.read(path).panels
    assert dict(drop.curves) == {"drop of bleu": [(1, 9), (2, 1.5)]}


def test_axes_do_not_enlarge_small_changes(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,val_accuracy,compression/bytes,compression/drop\n1,0.97,1000,0.01\n2,1.00,1030,0.02\n")
    accuracy, size, drop = TrainingCurves.read(path).panels
    assert accuracy.include == pytest.approx((0.885, 1.085))
    assert size.include == (0, 0)
    assert drop.include == pytest.approx((-0.05, 0.05))


def test_training_leaves_out_what_is_no_number(tmp_path):
    content = "step,val_bleu\n1,nan\n2,inf\nx,3\n3,word\n5,1\n4,2\n6\n7,8,surplus\n"
    assert training(tmp_path, content) == {"val_bleu": {"val_bleu": [(4, 2), (5, 1), (7, 8)]}}
    assert training(tmp_path, "step,val_bleu\n") == {}


def test_long_curves_are_thinned_to_their_end(tmp_path):
    curve = training(tmp_path, "step,val_x\n" + "".join(f"{k},{k}\n" for k in range(10_000)))["val_x"]["val_x"]
    assert 200 < len(curve) <= 300
    assert curve[-1] == (9999, 9999)
    assert curve == sorted(curve)


def sensitivity(tmp_path, **changes):
    path = tmp_path / "sensitivity.json"
    path.write_text(json.dumps({**SENSITIVITY, **changes}))
    return SensitivityRecord.read(path)


def test_losses_are_what_gets_worse(tmp_path):
    found = sensitivity(tmp_path)
    assert found.losses[1] == (1.0, 5.0)
    assert math.isnan(found.losses[0][1])
    assert sensitivity(tmp_path, higher_is_better=False).losses[1] == (-1.0, -5.0)


def test_ranking_puts_the_unknown_last(tmp_path):
    found = sensitivity(tmp_path, scores=[[None, None], [34.0, 30.0]])
    assert list(found.ranking()) == ["softmax", "encoder.0"]
    assert found.ranking()["softmax"] == 3.0
    assert math.isnan(found.ranking()["encoder.0"])


def test_sensitivity_without_what_is_optional(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"classes": ["a"], "strengths": [{"label": "x"}], "scores": [[1.5]]}))
    found = SensitivityRecord.read(path)
    assert found.measure == "score"
    assert math.isnan(found.baseline)
    assert math.isnan(found.bytes[0][0])
    assert (found.estimates, found.rank_correlation, found.largest_ratio) == ({}, {}, {})


def test_translations_without_what_is_optional(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"samples": [{"source": "a", "exact": "b"}]}))
    found = TranslationRecord.read(path)
    assert all(map(math.isnan, (found.step, *found.bleu, *found.chrf, *found.drop)))
    assert not found.compared
    assert found.samples[0].compressed == ""
    assert found.samples[0].exact_words == [WordRun("b", True)]


def test_a_sample_that_occurs_twice_is_shown_once(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"samples": [{"source": "a"}, {"source": "b"}, {"source": "a"}]}))
    assert [sample.source for sample in TranslationRecord.read(path).samples] == ["a", "b"]


def test_scores_of_a_search():
    scores = Scores.of({"search": SEARCH})
    assert (scores.before, scores.after, scores.drop, scores.interval) == (35.25, 35.0, 0.25, (-0.125, 0.625))
    assert [point[1] for point in scores.frontier.points] == [3000, 5000]


ODD = [{}, {"search": 3}, {"search": {"score_before": "x", "interval": 5, "frontier": [[1]]}}]
ODD += [{"search": {"interval": [1], "frontier": [[1.0, math.inf, 2.0]]}}]


@pytest.mark.parametrize("metrics", ODD)
def test_scores_that_are_none(metrics):
    scores = Scores.of(metrics)
    assert all(map(math.isnan, (scores.before, scores.after, scores.drop, *scores.interval)))
    assert scores.frontier.points == ()


def test_facts_are_flat():
    assert flat_metrics({"a": {"b": {"c": 1.23456789}, "empty": {}}, "list": [1, [2.5, "x"]], "no": None}) == {
        "a/b/c": "1.23457",
        "a/empty": "{}",
        "list": "1, 2.5, x",
        "no": "None",
    }


WORDS = {
    "equal": ("a b c", "a b c", [WordRun("a b c", False)]),
    "one word": ("a b c", "a x c", [WordRun("a", False), WordRun("b", True), WordRun("c", False)]),
    "left out": ("a c", "a b c", [WordRun("a c", False)]),
    "all": ("a b", "c", [WordRun("a b", True)]),
    "nothing": ("", "a", []),
    "against nothing": ("a", "", [WordRun("a", True)]),
}


@pytest.mark.parametrize(("sentence", "other", "expected"), WORDS.values(), ids=WORDS)
def test_words_that_differ_are_marked(sentence, other, expected):
    runs = word_runs(sentence, other)
    if sentence == "a c":  # what the other has besides leaves no mark here
        runs = [WordRun(" ".join(run.text for run in runs), any(run.differs for run in runs))]
    assert runs == expected
    assert " ".join(run.text for run in word_runs(sentence, other)) == sentence


@pytest.mark.parametrize("value", [True, "1", [1], {}])
def test_numbers_are_numbers(value):
    with pytest.raises(FormatError, match="expected a number"):
        number(value, "x")


@pytest.mark.parametrize("value", [None, math.inf, math.nan, 10**400])
def test_numbers_that_are_not_finite_are_not_known(value):
    assert math.isnan(number(value, "x"))


def test_json_that_is_too_large_or_too_deep(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises(FormatError, match="is not JSON"):
        read_object(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(FormatError, match=f"more than the {MAX_BYTES}"):
        read_object(path)


def test_figures_on_one_page_share_no_ids():
    figure = ranked_bars(["a"], [1.0])
    first, second = (inline_svg(figure, name, 'a "chart" <of> it') for name in ("c1", "c2"))
    assert first.replace("c1-", "c2-") == second
    assert first.startswith("<svg ")
    assert "viewBox" in first.split(">")[0]
    assert 'width="' not in first.split(">")[0]
    assert "xmlns" not in first
    assert "a &#34;chart&#34; &lt;of&gt; it" in first
