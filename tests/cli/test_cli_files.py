"""What the command says of several files: differences, soundness, plans; types of an expanded file; errors as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_compress import Plan, compress, load

STATE = {
    "w": torch.linspace(-3, 5, 60).reshape(6, 10),
    "b": torch.linspace(0.1, 0.7, 6),
    "huge": torch.tensor([[1e5, 1.0], [2.0, 3.0]]),
    "count": torch.tensor(7),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save(STATE, "m.ckpt")
    compress(STATE, "exact").save("exact.x")
    compress(STATE, "safe").save("safe.x")
    return tmp_path


def test_diff_of_a_checkpoint_and_of_what_a_plan_made_of_it(folder: Path, run) -> None:
    status, out, err = run("diff", "m.ckpt", "safe.x")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["tensor", "what"]
    assert lines[-1] == "m.ckpt and safe.x: 2 tensors differ, 2 are the same"
    result = json.loads(run("diff", "m.ckpt", "safe.x", "--json")[1])
    assert (result["same"], result["differ"]) == (2, 2)
    row = next(row for row in result["rows"] if row["tensor"] == "w")
    error = STATE["w"] - load("safe.x")["w"]
    assert row["largest_error"] == pytest.approx(error.abs().max().item())
    assert row["relative_error"] == pytest.approx((error.norm() / STATE["w"].norm()).item(), rel=1e-4)
    assert row["bytes"][0] == 240
    assert row["bytes"][1] < 240
    assert result["bytes"] == [Path("m.ckpt").stat().st_size, Path("safe.x").stat().st_size]


def test_diff_of_files_that_hold_other_tensors(folder: Path, run) -> None:
    other = {
        "w": STATE["w"].T.contiguous(),
        "b": STATE["b"].double(),
        "huge": STATE["huge"] * float("nan"),
        "new": STATE["b"],
    }
    compress(other, "exact").save("other.x")
    rows = {row["tensor"]: row for row in json.loads(run("diff", "exact.x", "other.x", "--json")[1])["rows"]}
    assert {name: row["what"] for name, row in rows.items()} == {
        "w": "shape 6×10 and 10×6",
        "b": "float32 and float64",
        "huge": "values",
        "count": "only in A",
        "new": "only in B",
    }
    assert rows["b"]["largest_error"] == 0
    assert rows["huge"]["largest_error"] is None
    assert rows["new"]["bytes"][0] is None
    assert json.loads(run("diff", "exact.x", "m.ckpt", "--json")[1])["differ"] == 0


def test_verify_looks_at_every_file(folder: Path, run) -> None:
    data = bytearray(Path("safe.x").read_bytes())
    data[-1] ^= 1
    Path("bad.x").write_bytes(data)
    status, out, err = run("verify", "exact.x", "bad.x", "none.x", "safe.x")
    assert status == 1
    assert [line.split()[0] for line in out.splitlines()] == ["exact.x", "safe.x"]
    assert err.count("error: ") == 2
    assert "none.x: No such file" in err
    status, out, err = run("verify", "exact.x", "bad.x", "--json")
    assert (status, err) == (1, "")
    result = json.loads(out)
    assert (result["sound"], [each["sound"] for each in result["files"]]) == (False, [True, False])
    assert run("verify", "exact.x", "safe.x")[0] == 0


def test_plans_are_listed_and_printed(run, tmp_path: Path) -> None:
    status, out, _ = run("plans")
    assert status == 0
    assert "safe (default)" in out
    assert "prune(amount=0.15, scope=class-uniform) interval(" in out
    (tmp_path / "plan.yaml").write_text(run("plans", "small")[1])
    assert Plan.from_yaml(tmp_path / "plan.yaml") == Plan.resolve("small")
    assert json.loads(run("plans", "--json")[1])["default"] == "safe"
    assert "did you mean 'small'?" in run("plans", "smal")[2]


def test_a_plan_is_written_to_a_new_file(run, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    status, out, _ = run("plans", "small", "-o", path)
    assert (status, out) == (0, f"{path}: {path.stat().st_size} bytes\n")
    assert Plan.resolve(str(path)) == Plan.resolve("small")
    path.write_text("mine")
    assert "exists and is not replaced" in run("plans", "small", "-o", path)[2]
    assert path.read_text() == "mine"
    assert "no plan is named" in run("plans", "-o", tmp_path / "other.yaml")[2]
    assert "create it, or write elsewhere" in run("plans", "safe", "-o", tmp_path / "no" / "plan.yaml")[2]


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_expand_converts_floating_point_tensors(folder: Path, run, name: str, dtype: torch.dtype) -> None:
    status, _, err = run("expand", "exact.x", "-o", "out.safetensors", "--dtype", name)
    assert status == 0
    assert ("too large" in err) == (name == "fp16")
    found = load_file("out.safetensors")
    for key, tensor in STATE.items():
        expected = tensor.to(dtype) if tensor.is_floating_point() else tensor
        assert found[key].dtype == expected.dtype
        assert torch.equal(found[key], expected)


def test_errors_are_json_where_results_are(folder: Path, run) -> None:
    cases = {
        ("inspect", "m.ckpt"): (1, "ForeignFileError", "does not begin like a file"),
        ("inspect", "none.x"): (1, "FileNotFoundError", "none.x: No such file"),
        ("inspect",): (2, "MissingParameter", "file"),
        ("verify", "exact.x", "--frob"): (2, "NoSuchOption", "--frob"),
        ("squeeze",): (2, "UsageError", "squeeze"),
    }
    for arguments, (expected, kind, text) in cases.items():
        status, out, err = run(*arguments, "--json")
        error = json.loads(out)
        assert (status, err, error["kind"]) == (expected, "", kind)
        assert text in error["error"]


def test_a_shell_completes_commands_and_plans(run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--install-completion" in run("--help")[1]
    monkeypatch.setenv("_LIGHTNING_COMPRESS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "lightning-compress compress m.ckpt --plan sm")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert run()[1].split() == ["small", "smallest"]
