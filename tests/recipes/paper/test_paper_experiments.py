"""Every experiment's rows, on a small model; and that a second run measures nothing."""

import csv

import numpy as np
import pytest
import torch

from lightning_compress import Interval, Plan, Prune, Rule, Weights, compress
from recipes.errors import ExperimentError
from recipes.paper.execution.runner import run
from recipes.paper.experiments import EXPERIMENTS
from recipes.paper.experiments.compression_rate import equation_2
from recipes.paper.experiments.fig1 import edges_of, histogram
from recipes.paper.experiments.fig5 import SHARES
from recipes.paper.experiments.fig7 import COVERAGES
from recipes.paper.experiments.table1 import lambdas_of
from recipes.paper.measurement.context import ExperimentContext
from recipes.translate import load_translator

HEADERS = {
    "table1": "scheme,share,bleu,drop,low,high,significant,bytes,ratio,zeros",
    "fig1": "state,left,right,weights",
    "fig5": "class,share,bleu,drop,low,high,significant,bytes,points",
    "fig6": "bits,restore,coverage,bleu,drop,low,high,significant,bytes",
    "fig7": "bits,coverage,bleu,drop,low,high,significant,points",
    "fig8": "bits,coverage,formula,ratio,bytes",
    "table2": "step,plan,bleu,drop,low,high,significant,bytes,formula,ratio",
    "baseline": "checkpoint,class_path,weights,raw_bytes,bleu,signature,sentences,split,beam",
}


@pytest.fixture
def rows(results):
    """Reads one CSV file of the results."""

    def read(name):
        with (results / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


def numbers(rows, column):
    return [float(row[column]) for row in rows]


def test_each_file_has_its_header_and_agrees_with_itself(results, rows):
    assert {path.name for path in results.iterdir()} == {"points", *(f"{name}.csv" for name in HEADERS)}
    exact = float(rows("baseline")[0]["bleu"])
    for name, header in HEADERS.items():
        assert (results / f"{name}.csv").read_text("utf-8").splitlines()[0] == header
        for row in rows(name):
            if "drop" in row:
                assert float(row["bleu"]) + float(row["drop"]) == pytest.approx(exact, abs=1e-4)
                assert float(row["low"]) <= float(row["drop"]) <= float(row["high"])
                excludes_0 = float(row["low"]) > 0 or float(row["high"]) < 0
                assert row["significant"] == str(excludes_0).lower()


def test_baseline(rows, checkpoint):
    (row,) = rows("baseline")
    module = load_translator(checkpoint)
    weights = sum(weight.numel() for weight in module.parameters())
    assert row["checkpoint"] == str(checkpoint)
    assert row["class_path"] == "recipes.transformer.TransformerTranslation"
    assert (int(row["weights"]), int(row["raw_bytes"])) == (weights, 4 * weights)
    assert (row["sentences"], row["split"], row["beam"]) == ("30", "valid", "1")
    assert row["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:none|smooth:exp|version:")
    assert float(row["bleu"]) > 1


def test_table1(rows):
    found = rows("table1")
    schemes = ("class-blind", "class-uniform", "class-distribution")
    assert [(row["scheme"], float(row["share"])) for row in found] == [(s, x) for s in schemes for x in (0.0, 0.4)]
    assert numbers(found[::2], "drop") == [0.0] * 3
    assert len({row["bytes"] for row in found[::2]}) == 1
    assert numbers(found[1::2], "zeros") == pytest.approx([0.4] * 3, abs=0.002)
    raw_bytes = float(rows("baseline")[0]["raw_bytes"])
    for row in found:
        assert float(row["ratio"]) == pytest.approx(raw_bytes / float(row["bytes"]), rel=1e-6)
    assert all(
        float(pruned["ratio"]) > float(whole["ratio"]) for whole, pruned in zip(found[::2], found[1::2], strict=True)
    )


def test_fig1(rows):
    found = rows("fig1")
    states = ("before", "class-blind", "class-uniform")
    assert [row["state"] for row in found] == [state for state in states for _ in range(101)]
    by_state = [np.array([int(row["weights"]) for row in found if row["state"] == state]) for state in states]
    total = int(rows("baseline")[0]["weights"])
    assert [int(counts.sum()) for counts in by_state] == pytest.approx([0.99 * total] * 3, abs=2)
    assert float(found[50]["left"]) == -float(found[50]["right"])
    for counts in by_state[1:]:
        assert counts[50] >= 0.4 * total - 5 > by_state[0][50]
    assert by_state[1][49] == by_state[1][51] == 0


def test_fig5(rows, choices):
    found = rows("fig5")
    assert [row["class"] for row in found] == [*choices["classes"], "all together"]
    for row in found[:2]:
        assert float(row["share"]) in (0.0, *SHARES)
        assert 1 <= int(row["points"]) <= 6
        assert float(row["drop"]) <= choices["tolerance"]
    least, most = sorted(numbers(found[:2], "share"))
    assert least <= float(found[2]["share"]) <= most
    assert int(found[2]["bytes"]) <= min(int(row["bytes"]) for row in found[:2])


def test_fig6(rows):
    found = rows("fig6")
    assert [(row["bits"], row["restore"]) for row in found] == [("3", r) for r in ("left", "middle", "right")]
    assert {row["coverage"] for row in found} == {"0.98"}
    assert len({row["bleu"] for row in found}) > 1


def test_fig7_and_fig8(rows, choices):
    (widest,), (rate,) = rows("fig7"), rows("fig8")
    assert widest["bits"] == rate["bits"] == "3"
    coverage = float(widest["coverage"])
    assert coverage in COVERAGES
    assert float(widest["drop"]) <= choices["tolerance"]
    assert float(rate["coverage"]) == coverage
    assert float(rate["formula"]) == pytest.approx(equation_2(3, coverage), rel=1e-6)
    assert float(rate["ratio"]) == pytest.approx(float(rows("baseline")[0]["raw_bytes"]) / int(rate["bytes"]), rel=1e-6)


def test_table2(rows):
    found = rows("table2")
    names = ["baseline", "prune 40 %", "+ quantize 3 bits 98 %", "+ half precision"]
    assert [row["step"] for row in found] == names
    assert found[0]["plan"] == ""
    assert (
        found[3]["plan"]
        == ", ".join(map(repr, Plan(Rule("*", Prune(0.4, "class-uniform"), Interval(3))).rules[0].methods))
        + ", Half(format='bfloat16', rounding='truncate')"
    )
    ratios = numbers(found, "ratio")
    assert ratios == sorted(ratios)
    assert ratios[0] == float(found[0]["formula"]) == 1.0
    assert float(found[1]["formula"]) == pytest.approx(1 / 0.6, rel=1e-6)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_a_second_run_measures_nothing_and_writes_the_same(name, results, settings, choices, monkeypatch):
    before = {path.name: path.read_bytes() for path in results.glob("*.csv")}

    def measured(self, plan, what):
        raise AssertionError(f"{what} was measured again")

    monkeypatch.setattr(ExperimentContext, "_measure", measured)
    written = run(settings(out=results, **choices), name, quiet=True)
    assert [path.stem for path in written] == [experiment.name for experiment in EXPERIMENTS[name]]
    assert {path.name: path.read_bytes() for path in results.glob("*.csv")} == before


def test_where_no_coverage_keeps_bleu_the_cells_are_empty(context, monkeypatch):
    monkeypatch.setattr("recipes.paper.measurement.significance.ScoreComparison.keeps", False)
    monkeypatch.setattr("recipes.paper.experiments.fig7.COVERAGES", (0.5, 0.9))
    monkeypatch.setattr("recipes.paper.experiments.fig5.SHARES", (0.2,))
    object.__setattr__(context.settings, "bits", (2,))
    object.__setattr__(context.settings, "classes", ("softmax",))
    (fig5,), (fig7,), (fig8,) = EXPERIMENTS["fig5"], EXPERIMENTS["fig7"], EXPERIMENTS["fig8"]
    assert fig7.parts(context)[0](context) == [{"bits": 2, "coverage": None, "points": 1}]
    assert fig8.parts(context)[0](context) == [{"bits": 2}]
    (row,) = fig5.parts(context)[0](context)
    assert (row["share"], row["drop"], row["points"]) == (0.0, 0.0, 1)
    assert fig5.finish(context, [row])[1]["share"] == 0.0


def test_an_unknown_class_is_an_error(context):
    object.__setattr__(context.settings, "classes", ("softmax", "encoder.7"))
    with pytest.raises(
        ExperimentError, match=r"no class 'encoder\.7' \(did you mean 'encoder\.0'\?\): its classes are"
    ):
        EXPERIMENTS["fig5"][0].parts(context)


def test_lambda_prunes_the_share_that_is_asked_for():
    torch.manual_seed(0)
    state = {"encoder.0.weight": torch.randn(1000), "softmax.weight": 5 * torch.randn(3000), "b": torch.zeros(500)}
    weights = Weights.from_state_dict(state)
    shares = (0.0, 0.2, 0.5, 0.95)
    for share, amount in lambdas_of(weights, shares).items():
        restored = compress(weights, Plan(Rule("*", Prune(amount, "class-distribution")))).restore()
        zeros = sum(int((tensor == 0).sum()) for tensor in restored.values())
        assert zeros == pytest.approx(max(500, share * 4500), abs=1)


def test_histograms_count_what_numpy_counts():
    torch.manual_seed(0)
    tensors = {"a": torch.randn(1000), "b": 10 * torch.randn(10, 5)}
    edges = edges_of(Weights.from_state_dict(tensors))
    joined = np.concatenate([tensor.double().numpy().reshape(-1) for tensor in tensors.values()])
    assert np.array_equal(histogram(tensors.values(), edges), np.histogram(joined, edges)[0])
    assert edges[0] == -edges[-1]
    assert (np.abs(joined) <= edges[-1]).mean() == pytest.approx(0.99, abs=0.001)
