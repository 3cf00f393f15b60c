"""The command line: every verb, JSON that parses, one sentence and status 1 for every error, unfolded pipes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from lightning_compress import Plan, Raw, Rule, compress, load

LONG = ".".join(["a_rather_long_module_name"] * 12) + ".weight"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a checkpoint in it, which is also the working directory."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(50, 20), nn.Linear(20, 30))
    state = {f"encoder.{name}": tensor for name, tensor in net.state_dict().items()}
    state |= {"encoder.tied": state["encoder.0.weight"], "layer[0].bias": torch.zeros(3), LONG: torch.ones(2, 3)}
    state |= {"loss.weight": torch.ones(2), "count": torch.tensor(3)}
    torch.save({"state_dict": state, "hyper_parameters": {"size": 20}}, tmp_path / "m.ckpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def compressed(folder, run):
    assert run("compress", "m.ckpt", "m.safetensors", "--plan", "half")[0] == 0
    return folder / "m.safetensors"


def fails(outcome, sentence):
    status, out, err = outcome
    assert status == 1
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err
    assert "Traceback" not in err


def test_compress_writes_the_file_that_the_library_writes(folder, run):
    status, out, err = run("compress", "m.ckpt", "out.safetensors", "--plan", "paper-transformer")
    assert (status, err) == (0, "")
    assert "out.safetensors: " in out
    assert "bits/weight" in out
    compress("m.ckpt", "paper-transformer").save("again.safetensors")
    assert (folder / "out.safetensors").read_bytes() == (folder / "again.safetensors").read_bytes()


def test_compress_by_a_plan_of_one_s_own(folder, run):
    (folder / "plan.yaml").write_text(Plan(Rule("*", Raw())).to_yaml())
    status, out, _ = run("compress", "m.ckpt", "m.safetensors", "--plan", "plan.yaml", "--exclude", "count",
                         "--exclude", "layer*", "--json")  # fmt: skip
    body = json.loads(out)
    assert status == 0
    assert body["excluded"] == ["layer[0].bias", "count"]
    state = torch.load("m.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in load("m.safetensors").items())


def test_compress_in_json(folder, run):
    status, out, err = run("compress", "m.ckpt", "m.safetensors", "--json")
    body = json.loads(out)
    assert (status, err) == (0, "")
    assert body["file"] == "m.safetensors"
    assert body["bytes"] == (folder / "m.safetensors").stat().st_size
    assert body["ratio"] == body["raw_bytes"] / body["bytes"]
    assert sum(row["weights"] for row in body["rows"]) == body["weights"]


def test_inspect_lists_every_tensor(compressed, run):
    status, out, _ = run("inspect", compressed)
    lines = out.splitlines()
    assert status == 0
    rows = {line.split("  ")[0]: line for line in lines}
    assert lines[0].split() == ["tensor", "shape", "class", "stored", "as", "weights", "bytes", "bits/weight", "zeros"]
    assert "50×20 float32" in rows["encoder.0.weight = encoder.tied"]
    assert "layer[0].bias" in rows
    assert "scalar int64" in rows["count"]
    assert "(exact: dtype int64)" in rows["count"]
    assert "(exact: known constant: class weights)" in rows["loss.weight"]
    assert sum("(exact" in line for line in lines) == 2
    assert "100.0%" in rows["layer[0].bias"]


def test_inspect_does_not_fold_what_is_piped(compressed, run):
    _, out, _ = run("inspect", compressed)
    assert sum(LONG in line for line in out.splitlines()) == 1
    assert len(out.splitlines()) == 1 + 7 + 1


def test_inspect_in_json(compressed, run):
    status, out, _ = run("inspect", compressed, "--json")
    body = json.loads(out)
    report = compress("m.ckpt", "half").report()
    assert status == 0
    assert [row["name"] for row in body["rows"]] == [row.name for row in report.rows]
    assert body["rows"][0]["bits_per_weight"] == report.rows[0].bits_per_weight
    assert body["rows"][0]["shape"] == [50, 20]
    assert body["ties"] == {"encoder.tied": "encoder.0.weight"}
    assert body["excluded"] == []
    assert [row["exact"] for row in body["rows"]].count(None) == 5
    assert body["hyper_parameters"] == {"size": 20}
    assert Plan.from_config(body["plan"]) == Plan.resolve("half")


def test_inspect_by_class_and_by_module(compressed, run):
    status, out, _ = run("inspect", compressed, "--by", "class", "--json")
    assert status == 0
    long = LONG.partition(".")[0]
    assert [row["class_name"] for row in json.loads(out)["rows"]] == [
        "encoder.0",
        "encoder.1",
        long,
        "other",
    ]
    assert run("inspect", compressed, "--by", "class")[1].split()[:2] == ["class", "tensors"]
    rows = json.loads(run("inspect", compressed, "--by", "module", "--json")[1])["rows"]
    assert [row["module"] for row in rows] == [
        "encoder.0",
        "encoder.1",
        "layer[0]",
        LONG[: -len(".weight")],
        "loss",
        "",
    ]
    assert rows[1]["weights"] == 20 * 30 + 30
    assert rows[1]["bits_per_weight"] == pytest.approx(8 * rows[1]["bytes"] / 630)
    rows = json.loads(run("inspect", compressed, "--by", "module", "--depth", 1, "--json")[1])["rows"]
    assert [(row["module"], row["tensors"]) for row in rows] == [
        ("encoder", 3), ("layer[0]", 1), (long, 1), ("loss", 1), ("", 1),
    ]  # fmt: skip
    status, table, _ = run("inspect", compressed, "--by", "module")
    assert table.split()[:2] == ["module", "tensors"]
    assert "(the model itself)" in table
    assert run("inspect", compressed, "--by", "layer")[0] == 2


def test_verify(compressed, run):
    status, out, err = run("verify", compressed)
    assert (status, err) == (0, "")
    assert out == f"{compressed} is sound: 8 tensors, {compressed.stat().st_size:,} bytes\n"
    assert json.loads(run("verify", compressed, "--json")[1]) == {
        "sound": True,
        "files": [{"file": str(compressed), "sound": True, "tensors": 8, "bytes": compressed.stat().st_size}],
    }


def test_verify_finds_a_flipped_bit(compressed, run):
    data = bytearray(compressed.read_bytes())
    data[-1] ^= 1
    compressed.write_bytes(data)
    fails(run("verify", compressed), "does not have its checksum: the file is damaged")
    status, out, err = run("verify", compressed, "--json")
    assert (status, err) == (1, "")
    assert "does not have its checksum" in json.loads(out)["error"]
    assert json.loads(out)["kind"] == "ChecksumError"


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_expand(compressed, run, ending):
    status, out, err = run("expand", compressed, f"out.{ending}")
    target = compressed.parent / f"out.{ending}"
    assert (status, err) == (0, "")
    assert out == f"out.{ending}: {target.stat().st_size:,} bytes\n"
    if ending == "ckpt":
        content = torch.load(target, weights_only=True)
        assert content["hyper_parameters"] == {"size": 20}
        assert all(torch.equal(tensor, content["state_dict"][name]) for name, tensor in load(compressed).items())
    fails(run("expand", compressed, f"out.{ending}"), "exists and is not replaced: remove it, or write elsewhere")
    again = json.loads(run("expand", compressed, f"again.{ending}", "--json")[1])
    assert again == {"file": f"again.{ending}", "bytes": target.stat().st_size}
    assert (compressed.parent / f"again.{ending}").read_bytes() == target.read_bytes()


ERRORS = {
    "no such source": (["compress", "no.ckpt", "o.safetensors"], "cannot read no.ckpt: No such file or directory"),
    "no checkpoint": (["compress", "text.ckpt", "o.safetensors"], "damaged, or of another kind"),
    "no such plan": (["compress", "m.ckpt", "o.safetensors", "--plan", "hlf"], "did you mean 'half'?"),
    "no such plan file": (["compress", "m.ckpt", "o.safetensors", "--plan", "p.yaml"], "cannot read the plan p.yaml"),
    "exclude nothing": (["compress", "m.ckpt", "o.safetensors", "--exclude", "z*"], "remove or correct it"),
    "onto its source": (["compress", "m.ckpt", "m.ckpt"], "exists and is not a file of this package"),
    "no such folder": (["compress", "m.ckpt", "no/o.safetensors"], "the folder no does not exist: create it"),
    "compressed twice": (["compress", "m.safetensors", "o.safetensors"], "is a compressed file already"),
    "expand elsewhere": (["expand", "m.safetensors", "no/o.ckpt"], "the folder no does not exist: create it"),
    "expand to what": (["expand", "m.safetensors", "o.bin"], "ends in '.bin'; write .ckpt for a Lightning checkpoint"),
    "expand to nothing": (["expand", "m.safetensors"], "no file to write is given: give its path, such as -o m.ckpt"),
    "expand a checkpoint to a type": (["expand", "m.safetensors", "o.ckpt", "--dtype", "fp16"], "leave dtype out"),
    "diff with nothing": (["diff", "m.safetensors", "no.ckpt"], "no.ckpt: No such file or directory"),
    "expand what": (["expand", "m.ckpt", "o.ckpt"], "does not begin like a file of this package"),
    "inspect nothing": (["inspect", "no.safetensors"], "no.safetensors: No such file or directory"),
    "inspect a checkpoint": (["inspect", "m.ckpt"], "does not begin like a file of this package"),
    "verify a folder": (["verify", "."], ".: Is a directory"),
    "verify text": (["verify", "text.ckpt"], "does not begin like a file of this package"),
}


@pytest.mark.parametrize(("arguments", "sentence"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_sentence_and_leave_nothing(compressed, run, arguments, sentence):
    (compressed.parent / "text.ckpt").write_text("hello")
    before = {path.name: path.read_bytes() for path in compressed.parent.iterdir()}
    fails(run(*arguments), sentence)
    assert {path.name: path.read_bytes() for path in compressed.parent.iterdir()} == before


@pytest.mark.parametrize("arguments", [["squeeze"], ["compress"], ["inspect", "--frob", "x"]])
def test_wrong_use_ends_with_status_2(run, arguments):
    status, _, err = run(*arguments)
    assert status == 2
    assert "Usage: lightning-compress" in err


def test_help_names_every_verb(run):
    status, out, _ = run("--help")
    assert status == 0
    assert all(verb in out for verb in ("compress", "diff", "expand", "inspect", "plans", "verify"))


def test_the_command_in_its_own_process(compressed):
    command = [sys.executable, "-m", "lightning_compress.cli"]
    bad = subprocess.run([*command, "verify", "m.ckpt"], capture_output=True, text=True, timeout=300)
    assert bad.returncode == 1
    assert bad.stderr.startswith("error: m.ckpt")
    assert "Traceback" not in bad.stderr
