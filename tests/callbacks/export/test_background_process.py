"""Exports by a real worker process: the same bytes, also if it is killed, and nothing left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from small_trainings import Small, names, trainer

from lightning_compress import CompressCheckpoint, Plan, Rule
from lightning_compress.plan import METHODS

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
METHOD = """
import json, os, sys, time
from dataclasses import dataclass
from pathlib import Path
import torch
from lightning_compress import Half
from lightning_compress.plan import register

@register
@dataclass(frozen=True)
class Recorded(Half):
    id = "recorded"
    folder: str = ""
    seconds: float = 0.0

    def store(self, *args, **kwargs):
        folder = Path(self.folder)
        if folder.joinpath("kill").exists() and os.getpid() != int(folder.joinpath("kill").read_text()):
            folder.joinpath("kill").unlink()
            os.kill(os.getpid(), 9)
        loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"pytorch_lightning", "lightning", "wandb"})
        state = {"pid": os.getpid(), "nice": os.nice(0), "threads": torch.get_num_threads(), "loaded": loaded}
        folder.joinpath("new").write_text(json.dumps(state))
        folder.joinpath("new").replace(folder / "worker.json")
        time.sleep(self.seconds)
        return super().store(*args, **kwargs)
"""


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The class of a method in a module of the user, which writes down in which process it is called."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "recorded_method.py").write_text(METHOD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "module")
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))
    monkeypatch.delitem(sys.modules, "recorded_method", raising=False)
    from recorded_method import Recorded

    return Recorded


def state_of(pid):
    """One letter; Z for a process that has ended and was not waited for; empty for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def memories():
    """The shared memory that this process holds, by inode numbers."""
    links = [link for link in Path("/proc/self/fd").iterdir() if "lightning-compress" in os.path.realpath(link)]
    return {link.stat().st_ino for link in links}


def train(folder, plan, background):
    each = ModelCheckpoint(folder, monitor="score", filename="{epoch}", save_top_k=2, save_last="link")
    callback = CompressCheckpoint(plan, background=background, on_error="raise")
    trainer(folder, callback, each, max_epochs=3).fit(Small())


def test_a_process_writes_the_same_bytes_and_leaves_nothing_also_if_one_was_killed(tmp_path, recorded, caplog):
    plan, earlier = Plan(Rule("*", recorded(folder=str(tmp_path)))), memories()  # of other tests
    train(tmp_path / "inline", plan, None)
    assert json.loads((tmp_path / "worker.json").read_text())["pid"] == os.getpid()
    assert not caplog.records or "lightning_compress" not in caplog.text
    (tmp_path / "kill").write_text(str(os.getpid()))
    train(tmp_path / "background", plan, "wait")
    found = [
        {path.name: path.read_bytes() for path in (tmp_path / kind).glob("*.compressed.safetensors")}
        for kind in ("inline", "background")
    ]
    assert found[0] == found[1]
    assert found[0].keys() == {
        "epoch=1.compressed.safetensors",
        "epoch=2.compressed.safetensors",
        "last.compressed.safetensors",
    }
    assert {path.suffix for path in (tmp_path / "background").iterdir()} == {".ckpt", ".safetensors"}
    worker = json.loads((tmp_path / "worker.json").read_text())
    assert worker["pid"] != os.getpid()
    assert worker["nice"] == min(os.nice(0) + 10, 19)
    assert (worker["threads"], worker["loaded"]) == (1, [])
    assert state_of(worker["pid"]) == ""
    assert memories() <= earlier
    told = [record.getMessage() for record in caplog.records if "is written again" in record.getMessage()]
    assert len(told) == 1
    assert "killed by signal 9" in told[0]


SCRIPT = """
import sys
from dataclasses import dataclass
sys.path += [{tests!r}, {module!r}]
from pytorch_lightning.callbacks import ModelCheckpoint
from recorded_method import Recorded
from small_trainings import Small, trainer
from lightning_compress import CompressCheckpoint, Half, Plan, Rule
from lightning_compress.plan import register

@register
@dataclass(frozen=True)
class Mine(Half):
    id = "mine"

for folder, method in (({first!r}, Mine()), ({second!r}, Recorded(folder={second!r}, seconds=0.5))):
    saves = ModelCheckpoint(folder, filename="only", save_top_k=-1)
    trainer(folder, CompressCheckpoint(Plan(Rule("*", method)), background="wait"), saves, max_epochs=1).fit(Small())
    print("fitted")
"""


def test_a_script_without_a_main_guard_that_is_killed(tmp_path, recorded):
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    script = tmp_path / "train.py"
    text = SCRIPT.format(
        tests=str(Path(__file__).parents[2] / "helpers"),
        module=str(tmp_path / "module"),
        first=str(first),
        second=str(second),
    )
    script.write_text(text, encoding="utf-8")
    (tmp_path / "torch.py").write_text("raise ImportError('a file of the working directory')", encoding="utf-8")
    command = [sys.executable, "-P", str(script)] if sys.version_info >= (3, 11) else [sys.executable, str(script)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 120
            while not (second / "worker.json").exists() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            worker = json.loads((second / "worker.json").read_text())["pid"]
            assert state_of(worker) in ("R", "S", "D")
        finally:
            process.send_signal(signal.SIGKILL)
        output, errors = process.communicate()
    assert output == "fitted\n"
    reasons = [line for line in errors.splitlines() if "in the training process" in line]
    assert len(reasons) == 1
    assert "Mine" in reasons[0]
    assert names(first, ".compressed.safetensors") == {"only.compressed.safetensors"}
    end = time.monotonic() + 30
    while state_of(worker) not in ("", "Z") and time.monotonic() < end:
        time.sleep(0.05)
    assert state_of(worker) in ("", "Z")
    assert {path.name for path in second.iterdir()} == {"only.ckpt", "worker.json"}
