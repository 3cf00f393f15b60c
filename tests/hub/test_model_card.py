"""The model card: its header, its numbers and how it says to load a file; as a function and as a command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from lightning_compress import Archive, Half, Plan, Raw, Rule, Weights, compress, load
from lightning_compress.errors import FormatError

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from lightning_compress.hub import CompressedModelHubMixin, model_card  # noqa: E402 – after what it needs

Run = Callable[..., tuple[int, str, str]]
PLAN = Plan(Rule("*.bias", Raw()), Rule("*", Half()))
MEASURED = {
    "score_before": 27.31,
    "score_after": 27.2,
    "drop": 0.11,
    "interval": [-0.02, 0.2],
    "expected_drop": 0.13,
    "assured": 0.93,
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(30, 40), nn.Linear(40, 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "best.compressed.safetensors"
    compress(Net(), PLAN).with_metrics({"search": MEASURED}).save(path)
    return path


def test_the_numbers_are_those_of_the_file(path: Path) -> None:
    text, report = str(model_card(path)), Archive.open(path).report()
    assert text.count("\n# Net\n") == 1
    for row in (
        f"| file | `best.compressed.safetensors`, {path.stat().st_size:,} bytes |",
        f"| weights | 1,322 in 4 tensors, {4 * 1322:,} bytes uncompressed |",
        f"| ratio | {4 * 1322 / path.stat().st_size:.2f} |",
        f"| bits per weight | {8 * path.stat().st_size / 1322:.2f} |",
        f"| zeros | {report.sparsity:.1%} |",
        "| score of the exact weights | 27.31 |",
        "| score of this file | 27.2 |",
        "| drop that was measured | 0.11 (95 % interval -0.02 to 0.2) |",
        "| drop that is expected on other data | 0.13 |",
        "| probability that the allowed drop is kept there | 93% |",
    ):
        assert row in text
    (plan,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert Plan.from_config(yaml.safe_load(plan)) == PLAN
    assert "## Left out" not in text


def test_the_metric_is_named_and_a_loss_is_positive() -> None:
    search = {"score_before": -0.5, "score_after": -0.625, "drop": 0.125, "measure": "val_loss", "mode": "min"}
    text = str(model_card(compress(Net(), PLAN).with_metrics({"search": search})))
    assert "| `val_loss` of the exact weights | 0.5 |\n| `val_loss` of this file | 0.625 |" in text


def test_what_was_not_measured_is_not_claimed() -> None:
    text = str(model_card(compress(Net(), PLAN)))
    assert "The file holds no score: what the compression loses was not measured" in text
    assert "drop" not in text
    invalid = compress(Net(), PLAN).with_metrics({"search": {"drop": "small", "expected_drop": 1}})
    assert "The file holds no score" in str(model_card(invalid))


def test_the_header_is_what_the_hub_reads(path: Path) -> None:
    card = hub.ModelCard(str(model_card(path)))
    assert card.data.library_name == "lightning-compress"
    assert card.data.tags == ["compressed", "pytorch"]
    own = hub.ModelCardData(license="mit", language="de")
    assert hub.ModelCard(str(model_card(path, card_data=own))).data.license == "mit"

    class Mixed(Net, CompressedModelHubMixin, license="mit", tags=["small"]):
        pass

    data = hub.ModelCard(str(Mixed().generate_model_card())).data
    assert (data.license, data.library_name) == ("mit", "lightning-compress")
    assert data.tags == ["compressed", "model_hub_mixin", "pytorch", "small"]


def test_the_code_of_the_card_loads_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    (code,) = re.findall(r"```python\n(.*?)```", str(model_card(path)), re.DOTALL)
    names: dict[str, object] = {"Net": Net}
    exec(code, names)
    expected = load(path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in names["model"].state_dict().items())
    assert names["tensors"].keys() == expected.keys()
    remote = str(model_card(path, repository="me/net"))
    assert 'path = hf_hub_download("me/net", "best.compressed.safetensors")' in remote
    mixed = str(model_card(path, repository="me/net", has_mixin=True))
    assert 'model = Net.from_pretrained("me/net")' in mixed


def test_a_class_with_its_own_template_keeps_it() -> None:
    pytest.importorskip("jinja2")

    class Mixed(Net, CompressedModelHubMixin, model_card_template="---\n{{ card_data }}\n---\n# About {{ what }}"):
        pass

    assert str(Mixed().generate_model_card(what="trees")).endswith("# About trees")


def test_texts_of_a_file_end_no_block_and_no_row() -> None:
    state = {"a|`b``\x1b[31m": torch.ones(2), "weight": torch.ones(3)}
    weights = Weights.from_state_dict(state, exclude=["a*"])
    plan = Plan(Rule("x```\n# y", Half(), optional=True), Rule("*", Raw()))
    text = str(model_card(compress(weights, plan)))
    assert "\x1b" not in text
    assert "- tensors: ``` 'a\\|`b``\\x1b[31m' ```" in text
    fence = "`" * 4
    (block,) = re.findall(rf"^{fence}yaml\n(.*?)^{fence}$", text, re.DOTALL | re.MULTILINE)
    assert Plan.from_config(yaml.safe_load(block)) == plan


def test_a_long_plan_is_folded() -> None:
    rules = [Rule(f"layer.{number}.*", Half(), optional=True) for number in range(20)]
    text = str(model_card(compress(Net(), Plan(*rules, Rule("*", Raw())))))
    (fold,) = re.findall(
        r"<details><summary>\d+ lines of YAML</summary>\n\n```yaml\n(.*?)```\n\n</details>", text, re.S
    )
    assert len(yaml.safe_load(fold)["rules"]) == 21
    assert "<details>" not in str(model_card(compress(Net(), PLAN)))


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no such file")
    with pytest.raises(FormatError):
        model_card(tmp_path / "x.safetensors")


def test_the_command_prints_or_writes_and_replaces_nothing(
    path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    status, printed, _ = run("card", path)
    assert status == 0
    assert printed == str(model_card(path))
    out = path.parent / "README.md"
    assert run("card", path, "-o", out, "--json")[:2] == (
        0,
        json.dumps({"file": str(out), "bytes": len(printed.encode())}) + "\n",
    )
    assert out.read_text("utf-8") == printed
    assert json.loads(run("card", path, "--json")[1]) == {"card": printed}
    status, _, errors = run("card", path, "-o", out)
    assert status == 1
    assert "exists and is not replaced: remove it, or write elsewhere" in errors
    assert "does not exist: create it" in run("card", path, "-o", path.parent / "none" / "x.md")[2]
