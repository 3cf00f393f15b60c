"""Parts of the calibrated family are taken away one by one, and bytes compared at equal divergence."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks.rate_distortion import ablation
from benchmarks.rate_distortion.methods.calibration import Text
from benchmarks.rate_distortion.source import Source
from lightning_compress import Grid
from lightning_compress.quantize import GridGuide

pytestmark = pytest.mark.usefixtures("quick_coding")


@pytest.mark.parametrize("start", [-4.0, ablation.START, 0.5])
@pytest.mark.parametrize("nats", [0.02, 0.001])
def test_bytes_are_those_at_the_wanted_divergence(start: float, nats: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "START", start)
    asked = []

    def measure(strength: float) -> tuple[int, float]:
        asked.append(strength)
        return round(1e6 * 2 ** (-0.4 * strength)), 0.3 * 2 ** (1.7 * strength)

    exact = torch.tensor(nats / 0.3).log2().item() / 1.7
    assert ablation.bytes_at(measure, nats) == pytest.approx(1e6 * 2 ** (-0.4 * exact), rel=0.01)
    assert 2 <= len(asked) <= 4


def test_two_files_of_similar_divergence_give_no_slope() -> None:
    """As measured: 13.6 at 0.0065, and then 18.5 and 18.7 both just below the 0.02 that is wanted."""
    files = iter([(1e6 / 13.59, 0.006516), (1e6 / 18.49, 0.019228), (1e6 / 18.71, 0.019342)])

    def measure(strength: float) -> tuple[int, float]:
        nbytes, nats = next(files)
        return int(nbytes), nats

    assert 18.7 < 1e6 / ablation.bytes_at(measure, 0.02) < 19.0


def test_exact_weights_do_not_diverge_and_others_do(larger: Source) -> None:
    text = Text(larger, "valid")
    assert ablation.divergence(larger, larger.state, text) == 0.0
    moved = {name: 1.1 * weight for name, weight in larger.state.items()}
    module, total, words = larger.yardstick.model, 0.0, 0
    for batch in text:
        module.load_state_dict(larger.state)
        exact = text.outputs(module, batch).softmax(-1)
        module.load_state_dict(moved)
        given = text.outputs(module, batch).softmax(-1)
        total += float((exact * (exact / given).log()).sum().detach())
        words += len(exact)
    assert ablation.divergence(larger, moved, text) == pytest.approx(total / words, rel=1e-3)


def test_a_row_lacks_what_its_name_says(larger: Source) -> None:
    made = ablation.families(larger, 32)

    def guides(name: str) -> list[GridGuide]:
        found = [guide for guide in ablation.ROWS[name](made).guidance.values() if isinstance(guide, GridGuide)]
        return [guide for guide in found if guide != GridGuide()]

    def grid(name: str) -> Grid:
        plan = ablation.ROWS[name](made).plan_at(-1.0, {})
        rule = next(rule for rule in plan.rules if rule.pattern == "embedding.weight")
        (method,) = (method for method in rule.methods if isinstance(method, Grid))
        return method

    full = guides("all")
    assert any(guide.exponents is not None for guide in full)
    assert any(guide.factor is not None for guide in full)
    assert all(guide.exponents is None for guide in guides("no steps of rows"))
    assert any(guide.spread is not None for guide in full)
    assert all(guide.factor is None and guide.spread is None for guide in guides("no error feedback"))
    alone = guides("no feedback between rows")
    assert any(guide.factor is not None for guide in alone)
    assert all(guide.spread is None for guide in alone)
    assert all(guide.exponents is None and guide.factor is None for guide in guides("neither"))
    assert grid("all").trellis == 8
    assert grid("no trellis").trellis == 0
    assert grid("no trellis").step == grid("all").step
    assert grid("rate_weight 0").rate_weight == 0
    assert grid("rate_weight 1").rate_weight == 1
    assert not ablation.ROWS["no data: equal steps"](made).guidance
    guided = guides("no data: guided by the evaluation")
    assert any(guide.exponents is not None for guide in guided)
    assert any(guide.factor is not None for guide in guided)
    assert all(guide.exponents is None for guide in guides("no data: its error feedback alone"))
    assert all(guide.factor is None for guide in guides("no data: its steps of rows alone"))


def test_the_command_prints_a_ratio_for_each_row(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yardstick = models / "yardstick.py"
    yardstick.write_text(yardstick.read_text().replace("WORDS, DEVIATION = 32,", "WORDS, DEVIATION = 500,"))
    rows = ["--row", "all", "--row", "neither"]
    arguments = ["ablation", "--models", str(models), "--model", "rnn", "--nats", "0.001", *rows]
    monkeypatch.setattr(sys, "argv", arguments)
    ablation.main()
    lines = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [name.strip() for name, _ in lines] == ["rnn: all", "rnn: neither"]
    assert all(1 < float(ratio.strip().removesuffix("×")) < 64 for _, ratio in lines)
