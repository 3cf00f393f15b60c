"""The peers' worker and environment, with a small program in the place of NNCodec."""

import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.rate_distortion.methods import nncodec
from benchmarks.rate_distortion.peers import environment as peers
from benchmarks.rate_distortion.source import Source

NNCODEC = """
import cv2
import json
import numpy as np
from torchvision import datasets, transforms
from torchvision.models import resnet18

class Folder(datasets.ImageFolder):
    pass

scaling = transforms.Compose([transforms.Resize(256), transforms.ToTensor()])

def compress(state, bitstream_path, **options):
    with open(bitstream_path, "wb") as file:
        np.savez(file, options=json.dumps(options), **state)

def decompress(data):
    import io
    arrays = np.load(io.BytesIO(data))
    options = json.loads(str(arrays["options"]))
    print(options)
    assert options == {"use_dq": True, "param_opt": True, "row_skipping": False, "qp": -20}, options
    return {name: arrays[name] * 2 for name in arrays.files if name != "options"}
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "library" / "nncodec"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "nnc.py").write_text(NNCODEC)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("program")
def test_a_file_is_coded_and_decoded_in_other_processes(source: Source, tmp_path: Path) -> None:
    candidate = nncodec.candidate(source, lambda: Path(sys.executable), {"qp": -20, "row_skipping": False})
    assert candidate.setting == "qp=-20 row_skipping=False"
    candidate.write(tmp_path / "file")
    state = candidate.read(tmp_path / "file")
    assert state.keys() == source.state.keys()
    assert all(torch.equal(state[name], 2 * weight) for name, weight in source.state.items())
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.usefixtures("program")
def test_a_failure_of_the_worker_is_an_error(source: Source, tmp_path: Path) -> None:
    candidate = nncodec.candidate(source, lambda: Path(sys.executable), {"qp": -19})
    candidate.write(tmp_path / "file")
    with pytest.raises(RuntimeError, match=r"(?s)worker.py decode .* ended with 1:.*AssertionError: .*'qp': -19"):
        candidate.read(tmp_path / "file")


def test_an_unknown_command_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="the command is 'convert', expected 'encode' or 'decode'"):
        peers.work(Path(sys.executable), "convert")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(
            returncode=int("--no-deps" in command and "broken" in command[0]), stderr="no such thing"
        )

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(venv, "create", lambda folder, **_: folder.mkdir(exist_ok=True))
    return commands


def test_the_environment_is_made_once_for_the_same_pins(tmp_path: Path, installed: list[list[str]]) -> None:
    folder = tmp_path / "peers"
    assert peers.environment(folder) == folder / "bin" / "python"
    assert [command[-1] for command in installed] == [str(peers.REQUIREMENTS), "nncodec==2.1.3"]
    peers.environment(folder)
    assert len(installed) == 2
    (folder / "ready").write_text("of other pins")
    peers.environment(folder)
    assert len(installed) == 4


@pytest.mark.usefixtures("installed")
def test_the_error_has_the_output_of_pip_and_the_environment_is_not_marked_ready(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"(?s)could not be made: .*nncodec==2.1.3 ended with\nno such thing\nInstall"
    ):
        peers.environment(tmp_path / "broken")
    assert not (tmp_path / "broken" / "ready").exists()


def test_every_pin_is_exact() -> None:
    lines = [line for line in peers.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    assert all("==" in line for line in [*lines, *peers.WITHOUT_DEPENDENCIES])
    numpy = next(line for line in lines if line.startswith("numpy=="))
    assert int(numpy.removeprefix("numpy==").split(".")[0]) < 2


def test_the_sweeps_are_of_both_models_and_listing_them_makes_no_environment(tmp_path: Path, source: Source) -> None:
    method = nncodec.method(tmp_path / "peers")
    assert nncodec.SWEEPS.keys() == {"transformer", "rnn"}
    for kind in nncodec.SWEEPS:
        settings = [candidate.setting for candidate in method.candidates(Source(kind, source.yardstick))]
        assert len(set(settings)) == len(settings) >= 8
    assert all(path.exists() for path in method.code)
    assert not (tmp_path / "peers").exists()
