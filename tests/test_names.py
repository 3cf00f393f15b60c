"""Names are data: every name comes back from each output unchanged, or is refused before a file gets its name."""

from __future__ import annotations

import json
import logging

import pytest
import safetensors.torch
import torch
from each_case import naming
from torch import nn

from lightning_compress import Archive, Plan, Rule, Weights, charts, compress, expand, load
from lightning_compress.archive import ClassReport
from lightning_compress.errors import WeightsError
from lightning_compress.logging.keys import key_parts
from lightning_compress.quantize import Raw
from lightning_compress.report import write_report
from lightning_compress.search.sensitivity.layers.sensitivity_table import LayerSensitivities
from lightning_compress.weights import Weight

NAMES = (
    "",
    " ",
    "\0",
    "a\0b",
    "line\nbreak",
    "\x1b[31mred",
    "\x7f",
    "\x85",
    "\u2028",
    "\u202e",
    "\uffff",
    "#",
    "#small",
    "##__metadata__ ",
    "#asset#vocabulary",
    "é",
    "e\u0301",
    "😀",
    "../up",
    "..",
    "/absolute",
    "back\\slash",
    "CON",
    "con",
    "nul.txt",
    "[red]x[/]",
    "\\[/x]",
    "<script>alert(1)</script>",
    "=cmd()",
    'comma, "quote" and | pipe',
    "$x_1$",
    "state_dict",
    "format",
    "{zstd}",
    "long" * 5000,
)
REFUSED = (
    ("half a surrogate pair", "\ud800", "cannot be written in UTF-8"),
    ("more than 65535 bytes", "long" * 20_000, "has 80000 bytes"),
    ("no text", 3, "expected .*text|expected a name|expected the name"),
)


def saved(weights, path):
    compress(weights, Plan(Rule("*", Raw(), optional=True))).save(path)
    return path


def test_every_name_comes_back_from_every_output(tmp_path, run):
    state = {name: torch.full((2,), float(index)) for index, name in enumerate(NAMES)}
    state["large\0" + NAMES[-1]] = torch.rand(20_000)  # has a record of its own in the header
    weights = Weights.from_state_dict(state, classes={f"class {name}": name for name in NAMES if name})
    file = saved(weights, tmp_path / "file.safetensors")
    expand(file, tmp_path / "file.ckpt")
    expand(file, tmp_path / "plain.safetensors")
    for restored in (
        load(file),
        torch.load(tmp_path / "file.ckpt", weights_only=True)["state_dict"],
        safetensors.torch.load_file(tmp_path / "plain.safetensors"),
    ):
        assert set(restored) == set(state)
        assert all(torch.equal(restored[name], tensor) for name, tensor in state.items())
    with safetensors.safe_open(file, "pt") as foreign:
        assert set(foreign.keys())
    assert {entry.class_name for entry in Archive.open(file).manifest.entries} == {
        weight.class_name for weight in weights
    }
    status, table, _ = run("inspect", file)
    assert (status, run("verify", file)[0]) == (0, 0)
    status, document, _ = run("inspect", file, "--json")
    assert status == 0
    assert {row["name"] for row in json.loads(document)["rows"]} == set(state)
    assert "\x1b" not in table
    assert "\0" not in table
    assert r"\x1b[31mred" in table


def test_a_tensor_named_like_the_metadata_of_safetensors(tmp_path, caplog):
    state = {"__metadata__": torch.ones(2), "large": torch.zeros(20_000), "#": torch.ones(3)}
    file = saved(state, tmp_path / "file.safetensors")
    assert set(load(file)) == set(state)
    with caplog.at_level(logging.WARNING):
        expand(file, tmp_path / "plain.safetensors")
    assert "'__metadata__'" in caplog.text
    plain = safetensors.torch.load_file(tmp_path / "plain.safetensors")
    assert set(plain) == {"##__metadata__", "large", "#"}
    assert torch.equal(plain["##__metadata__"], state["__metadata__"])
    expand(file, tmp_path / "file.ckpt")
    assert set(torch.load(tmp_path / "file.ckpt", weights_only=True)["state_dict"]) == set(state)
    both = saved(state | {"##__metadata__": torch.ones(1)}, tmp_path / "both.safetensors")
    assert set(load(both)) == {*state, "##__metadata__"}
    with pytest.raises(WeightsError, match=r"'__metadata__'.*'##__metadata__'.*another tensor"):
        expand(both, tmp_path / "plain2.safetensors")
    assert not (tmp_path / "plain2.safetensors").exists()


def test_every_name_of_an_asset_comes_back(tmp_path):
    class Module(nn.Linear):
        def compression_assets(self):
            return {name: name.encode() for name in (*NAMES, "__metadata__", "Con")}

    file = saved(Module(1, 1), tmp_path / "file.safetensors")
    assert Archive.open(file).assets() == Module(1, 1).compression_assets()


def test_a_name_that_no_file_can_hold_is_refused_before_a_file_is_written():
    tensor = torch.ones(2)
    good = Weights.from_state_dict({"a": tensor})
    for case, name, message in REFUSED:
        places = {
            "tensor": lambda name=name: Weights.from_state_dict({name: tensor}),
            "tensor left out": lambda name=name: Weights((), excluded=(name,)),
            "tied tensor": lambda name=name: Weights(good.weights, ties={name: None}),
            "class": lambda name=name: Weights.from_state_dict({"a": tensor}, classes={name: "a"}),
            "asset": lambda name=name: Weights(good.weights, assets={name: b""}),
            "hyper-parameter": lambda name=name: Weights(good.weights, hyper_parameters_left_out=(name,)),
        }
        for place, make in places.items():
            with naming((case, place)), pytest.raises(WeightsError, match=message):
                make()
    with pytest.raises(WeightsError, match="'a' stands twice"):
        Weights((Weight("a", tensor, "other"),) * 2)


def test_different_names_have_different_log_keys_that_loggers_accept():
    parts = key_parts(NAMES)
    assert len(set(parts.values())) == len(NAMES)
    for name, part in parts.items():
        with naming(name[:40]):
            assert 0 < len(part) < 130
            assert not {"", ".", ".."} & set(part.split("/"))  # MLflow refuses them in a key
            assert all(letter.isalnum() or letter in "_.-/" for letter in part)
    assert key_parts(["prune 20 %", "decoder.0", "a b", "a_b"]) == {
        "prune 20 %": "prune_20",
        "decoder.0": "decoder.0",
        "a b": "a_b",
        "a_b": "a_b_2",
    }


def test_a_measure_may_have_the_name_of_another_column():
    for measure in ("drop", "class", "val_bleu"):
        empty = torch.zeros(0, 0).numpy()
        columns = LayerSensitivities(measure, True, 1.0, (), (), (), empty, empty, {}).columns()
        assert len(set(columns)) == len(columns)
        assert any(measure in column for column in columns[2:3])


def test_charts_draw_every_name():
    pytest.importorskip("matplotlib")
    names = [*(name for name in NAMES if not name.isprintable()), "$x_1$", "", "\ud800"]
    together = "".join(name[:40] for name in names)
    for figure in (
        charts.ranked_bars(names, [1.0] * len(names), None, together[:50], together[-50:]),
        charts.heat_map(["a"], names[:1], [[1.0]], together, together),
        charts.bytes_by_class([ClassReport(1, 2, 8, 4, 0.0, class_name="\x1b[31mred")]),
    ):
        text = charts.to_svg(figure)
        text.encode()
        assert not {"\x1b", "\0"} & set(text)


def test_a_report_of_every_name_is_text(tmp_path):
    pytest.importorskip("matplotlib")
    state = {name: torch.ones(2) for name in NAMES}
    file = saved(Weights.from_state_dict(state, classes={"</td>": "*"}), tmp_path / "file.safetensors")
    write_report(file, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "</td></td>" not in page
    assert "<script>" not in page
