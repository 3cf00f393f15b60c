"""Cases: the demo from corpus to table on a few pairs, and how it treats wandb without a key."""

import os
import sys

import pytest

from recipes.command import run_trainer
from recipes.demo import __main__ as demo
from recipes.demo.run import run

SIZES = {"width": 64, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 128}


def test_the_table_has_the_sizes_of_the_files_on_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    small = [f"--model.init_args.{name}={size}" for name, size in SIZES.items()]
    monkeypatch.setattr("recipes.demo.run.run_trainer", lambda arguments: run_trainer([*arguments, *small]))
    rows = run(tmp_path, pairs=100, held_out=4, seed=1)
    out = capsys.readouterr().out
    assert [row.name for row in rows][1:] == ["weights in fp32", "safe", "small", "auto, at most 1 % lost"]
    for row in rows:
        assert row.size == row.path.stat().st_size
        assert 0 <= row.bleu <= 100
        assert f"{row.size:,}" in out
    checkpoint, plain, safe, small, found = rows
    assert checkpoint.size > plain.size > safe.size > small.size
    assert checkpoint.bleu == plain.bleu
    assert f"{found.path} translates" in out.replace("\n", "")
    assert f"× smaller than the checkpoint; BLEU on unseen text {plain.bleu:.1f} → {found.bleu:.1f}" in " ".join(
        out.split()
    )


@pytest.mark.parametrize(("key", "mode"), [(None, "offline"), ("secret", None)])
def test_without_a_key_wandb_stays_offline(tmp_path, monkeypatch, key, mode):
    monkeypatch.setattr(demo.torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(os, "environ", {"WANDB_API_KEY": key} if key else {})
    monkeypatch.setattr(sys, "argv", ["demo", "--output", str(tmp_path), "--pairs", "7", "--seed", "3"])
    calls = []
    monkeypatch.setattr(demo, "run", lambda output, **options: calls.append((output, options)))
    demo.main()
    assert calls == [(tmp_path, {"pairs": 7, "seed": 3})]
    assert os.environ.get("WANDB_MODE") == mode
