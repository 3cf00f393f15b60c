"""The same search gives the same file, whatever the clock says."""

import logging
import time
from pathlib import Path

import pytest
from small_calibration import Answers, ids
from small_network import Net
from small_search import Agreement

from lightning_compress import smallest


def _found(path: Path) -> bytes:
    net = Net()
    smallest(net, Agreement(net), 3.0, effort="quick", progress=False).save(path)
    return path.read_bytes()


def test_a_slower_search_gives_the_same_file_and_says_in_the_log_how_long_it_took(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="lightning_compress")
    first = _found(tmp_path / "first.safetensors")
    clock = time.perf_counter
    monkeypatch.setattr("lightning_compress.search.smallest_file.context.perf_counter", lambda: 7 * clock())
    assert _found(tmp_path / "second.safetensors") == first
    told = [record.getMessage() for record in caplog.records if "the search took" in record.getMessage()]
    assert len(told) == 2


class OutputsAlone:
    """Calibration data without a loss."""

    def __init__(self, whole: Answers) -> None:
        self.whole = whole

    def __iter__(self):
        return iter(self.whole)

    def outputs(self, module, batch):
        return self.whole.outputs(module, batch)


@pytest.mark.usefixtures("quick_coding", "quick_predictions")
def test_outputs_are_enough_and_a_loss_beside_them_changes_nothing():
    found = []
    for calibration in (ids(cls=Answers), OutputsAlone(ids(cls=Answers))):
        net = Net()
        found.append(smallest(net, Agreement(net), 3.0, effort="quick", calibration=calibration, progress=False))
    first, second = found
    assert first.manifest.fingerprint == second.manifest.fingerprint
    assert first.manifest.plan == second.manifest.plan
    assert first.nbytes == second.nbytes
    assert first.streams_named("row_exponents")  # guided
