"""Points shared among processes: the same results, and an error that says what failed."""

import csv
from functools import partial

import pytest
from fresh_process import start_server
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessRaisedException

from recipes.errors import ExperimentError
from recipes.paper.execution.parallel import measure_in_parallel
from recipes.paper.execution.runner import run
from recipes.paper.measurement.context import ExperimentContext

FEW = {"limit": 5, "bits": (2,), "coverage": 0.98}


def scores(path):
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "bytes"} for row in csv.DictReader(file)]


def test_two_processes_measure_what_one_measures(settings, tmp_path, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "GROUP_RANK"):
        monkeypatch.setenv(name, "")  # so that what Lightning sets is gone afterwards
        monkeypatch.delenv(name)
    (alone,) = run(settings(out=tmp_path / "one", **FEW), "fig6", quiet=True)

    def measured(self, plan, what):
        raise AssertionError(f"{what} was measured in this process")

    monkeypatch.setattr(ExperimentContext, "_measure", measured)
    start_server()  # its processes begin with the imports done; those of "ddp_spawn" do them again
    forked = partial(Fabric, accelerator="cpu", strategy=DDPStrategy(start_method="forkserver"))
    monkeypatch.setattr("recipes.paper.execution.parallel.Fabric", lambda devices, **_: forked(devices=devices))
    (both,) = run(settings(out=tmp_path / "two", **FEW), "fig6", devices=2, quiet=True)
    assert both == tmp_path / "two" / "fig6.csv"
    assert scores(both) == scores(alone)
    points = [sorted(path.name for path in (tmp_path / out / "points").iterdir()) for out in ("two", "one")]
    assert points[0] == points[1]


def test_a_process_that_fails_is_one_error(settings, monkeypatch):
    def launch(fabric, function):
        raise ProcessRaisedException("Traceback …\n  line\nrecipes.errors.TextError: a text is gone\n", 1, 4711)

    monkeypatch.setattr(Fabric, "launch", launch)
    with pytest.raises(
        ExperimentError, match=r"^one of 2 processes failed: recipes\.errors\.TextError: a text is gone$"
    ):
        measure_in_parallel(settings(), ["fig6"], devices=2, quiet=True)
