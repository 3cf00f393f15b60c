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
    assert [row.name for row in rows][1:] == ["fp32", "lossless", "half", "paper-transformer"]
    for row in rows:
        assert row.size == row.path.stat().st_size
        assert 0 <= row.bleu <= 100
        assert f"{row.size:,}" in out
    checkpoint, plain, lossless, half, paper = rows
    assert checkpoint.size > plain.size > lossless.size > half.size > paper.size
    assert checkpoint.bleu == plain.bleu == lossless.bleu
    assert f"{paper.path} translates" in out.replace("\n", "")


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
