"""Names from files and arguments never reach the terminal as control characters or markup."""

from __future__ import annotations

import json

import torch
from each_case import naming

HOSTILE = "\x1b]0;title\x07\x1b[2J\r\b\u202e[red]red[/nosuch][link=http://x]<b>&"


def is_plain(text: str) -> bool:
    return all(character == "\n" or (character.isprintable() and character != "\u202e") for character in text)


def test_no_command_prints_control_characters_of_names(tmp_path, run):
    state = {HOSTILE + ".weight": torch.randn(8, 8), "tied" + HOSTILE: torch.randn(4)}
    state["other" + HOSTILE] = state["tied" + HOSTILE]
    entries = {"hyper_parameters": {HOSTILE: HOSTILE, "object": torch.nn.Linear}, "optimizer_states": [HOSTILE]}
    whole, several, small = tmp_path / "a.ckpt", tmp_path / "b.ckpt", tmp_path / "a.safetensors"
    torch.save({"state_dict": state, **entries}, whole)
    torch.save({"one" + HOSTILE: state, "two": dict(state), **entries}, several)
    plan = tmp_path / "plan.yaml"
    plan.write_text(json.dumps({"rules": [{"match": HOSTILE, "methods": ["half"]}]}), encoding="utf-8")
    bad = tmp_path / "bad.yaml"
    bad.write_text(json.dumps({"rules": [{"match": "*", "methods": [HOSTILE]}]}), encoding="utf-8")
    missing = tmp_path / ("missing" + HOSTILE.replace("/", ""))
    cases = {
        "compress": (0, ["compress", whole, small, "--plan", "half"]),
        "inspect": (0, ["inspect", small]),
        "inspect classes": (0, ["inspect", small, "--by", "class"]),
        "verify": (0, ["verify", small]),
        "expand": (0, ["expand", small, tmp_path / "out.ckpt"]),
        "expand to safetensors": (0, ["expand", small, tmp_path / "out.safetensors"]),
        "report": (0, ["report", small, "-o", tmp_path / "page.html"]),
        "several state dicts": (1, ["compress", several, tmp_path / "c.safetensors", "--plan", "half"]),
        "unknown key": (1, ["compress", whole, tmp_path / "c.safetensors", "--key", HOSTILE]),
        "excluded": (1, ["compress", whole, tmp_path / "c.safetensors", "--exclude", "x" + HOSTILE]),
        "plan": (1, ["compress", whole, tmp_path / "c.safetensors", "--plan", plan]),
        "bad plan": (1, ["compress", whole, tmp_path / "c.safetensors", "--plan", bad]),
        "unknown plan": (1, ["compress", whole, tmp_path / "c.safetensors", "--plan", HOSTILE]),
        "missing": (1, ["inspect", missing]),
        "missing checkpoint": (1, ["compress", missing, tmp_path / "c.safetensors", "--plan", "half"]),
        "unknown command": (2, [HOSTILE]),
        "unknown option": (2, ["inspect", small, "--" + HOSTILE.replace("\u202e", "")]),
    }
    for case, (expected, arguments) in cases.items():
        with naming(case):
            status, out, err = run(*arguments)
            assert status == expected, (out, err)
            assert is_plain(out), out
            assert is_plain(err), err
            assert out + err
