"""FIFOs and devices in the place of records, plans and checkpoints: an error at once, where reading would wait."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from each_case import naming

from lightning_compress import Plan, Weights
from lightning_compress.errors import CompressionError
from lightning_compress.report.records.json_values import read_object
from lightning_compress.report.records.training import TrainingCurves

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
READERS: dict[str, Callable[[Path], object]] = {
    "record.json": read_object,
    "metrics.csv": TrainingCurves.read,
    "plan.yaml": Plan.from_yaml,
    "model.ckpt": Weights.from_checkpoint,
    "model.safetensors": Weights.from_checkpoint,
}


def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    for name, read in READERS.items():
        os.mkfifo(tmp_path / name)
        for path in (tmp_path / name, Path("/dev/zero")):
            with naming((name, path)):
                signal.alarm(20)  # a reader that waits is ended with the tests
                try:
                    with pytest.raises((OSError, CompressionError), match=r"FIFO|device|is no|not a") as caught:
                        read(path)
                finally:
                    signal.alarm(0)
                assert "\n" not in str(caught.value)
