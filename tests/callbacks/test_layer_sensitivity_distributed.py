"""Two processes with gloo: rank 0 measures while the other waits, and neither trains otherwise for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("distributed_sensitivity.py")


def test_rank_zero_measures_by_the_loss_of_batches_and_validation_of_its_own_is_refused(tmp_path):
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    for outcome in outcomes:
        assert outcome["measured"] == outcome["plain"]
        assert "validation cannot run on one of 2 processes alone: give evaluate=" in outcome["refused"]
    assert [outcome["result"] for outcome in outcomes] == ["loss", None]
    assert (tmp_path / "measured" / "sensitivity.json").exists()
    assert "was not measured" not in done.stderr
