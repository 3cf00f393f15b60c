"""The wheel and the source distribution: what they hold, and what the wheel can do beside torch and numpy alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("hatchling", reason="the extra dev is not installed anew since hatchling is in it")


def build(source: Path, target: str, out: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=300)
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


def requirements(name: str) -> list[str]:
    """What a distribution needs without extras, on this machine."""
    found = metadata.requires(name) or []
    return [re.split(r"[^\w.-]", line)[0] for line in found if "extra ==" not in line and "sys_platform" not in line]


@pytest.fixture(scope="module")
def libraries(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to what the installed wheel says that it needs, and to what that needs, and no more."""
    folder, (own,) = tmp_path_factory.mktemp("libraries"), metadata.distributions(path=[str(site)])
    lines = [line for line in own.requires or [] if "extra ==" not in line]
    wanted = [re.split(r"[^\w.-]", line)[0] for line in lines]
    for name in wanted:
        distribution = metadata.distribution(name)
        for path in distribution.files or ():
            top = path.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
        wanted += [each for each in requirements(name) if each not in wanted and is_installed(each)]
    return folder


def is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_the_wheel_holds_the_package_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"lightning_compress"}
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "lightning_compress").rglob("*.py")}
    assert own <= set(names)
    assert {"lightning_compress/py.typed", "lightning_compress/report/templates/page.html"} <= set(names)
    assert wheel.stat().st_size < 1_000_000


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    source = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (folder,) = (tmp_path / "source").iterdir()
    assert {"recipes", "tests", "docs", "LICENSE", "pyproject.toml", "Makefile"} <= {
        path.name for path in folder.iterdir()
    }
    again = build(folder, "wheel", tmp_path / "again")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert {info.filename: info.CRC for info in one.infolist()} == {i.filename: i.CRC for i in other.infolist()}


SCRIPT = """
import importlib.util
import sys
import torch
from torch import nn
import lightning_compress as lc

absent = ("lightning", "matplotlib", "numba", "pytorch_lightning", "rich", "safetensors", "typer", "wandb")
assert not any(map(importlib.util.find_spec, absent))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 2))

net = Net()
for plan in ("exact", "safe", "paper-transformer", lc.Plan(lc.Rule("*", lc.Grid(0.1, trellis=0), lc.Half()))):
    lc.compress(net, plan).save("net.compressed.safetensors")
    loaded = lc.load_from_checkpoint(Net, "net.compressed.safetensors")
    assert (loaded.layers[0].weight - net.layers[0].weight).abs().max() < 0.2
    assert lc.load("net.compressed.safetensors").keys() == net.state_dict().keys()
lc.expand("net.compressed.safetensors", "net.ckpt")
lc.expand("net.compressed.safetensors", "net.safetensors", dtype="bf16")
lc.compress("net.ckpt", "safe")

def sentence(action):
    try:
        action()
    except lc.CompressionError as error:
        assert isinstance(error, ImportError)
        print(error)

sentence(lambda: lc.CompressCheckpoint)
sentence(lambda: lc.compress(net, "small"))
assert sys.modules.keys().isdisjoint(absent)
sys.argv = ["lightning-compress", "plans"]
from lightning_compress.cli import main
main()
"""


def test_the_core_works_with_what_it_requires_alone(site: Path, libraries: Path, tmp_path: Path) -> None:
    search_path = os.pathsep.join(map(str, (site, libraries)))
    environment = {**os.environ, "PYTHONPATH": search_path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", SCRIPT]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.stdout.splitlines() == [
        'a callback needs Lightning, as pytorch-lightning or lightning: pip install "lightning-compress[lightning]"',
        "a trellis quantizer, as in the presets small and smallest, needs numba: "
        'pip install "lightning-compress[search]"',
    ], run.stderr
    assert run.stderr == 'error: the command line needs typer: pip install "lightning-compress[cli]"\n'
    assert run.returncode == 1


# Libraries whose own types are not what is tested, and take most of the time.
NOT_READ = ("fsspec", "jinja2", "lightning", "matplotlib", "numpy", "pytorch_lightning", "rich", "sacrebleu", "torch")
USER = """
from pathlib import Path

import torch
from torch import nn

from lightning_compress import Grid, Half, Plan, Rule, Score, Weights, compress, expand, load, load_from_checkpoint


class Net(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()


plan = Plan(Rule("*.bias", Half()), Rule("*", Grid(0.1)))
archive = compress(Net(), plan)
size: int = archive.save(Path("net.compressed.safetensors"))
tensors: dict[str, torch.Tensor] = load("net.compressed.safetensors", names=["weight"], device="cpu")
net: Net = load_from_checkpoint(Net, "net.compressed.safetensors", width=4)
expand("net.compressed.safetensors", "net.safetensors", dtype="bf16")
weights: Weights = Weights.from_module(net)
ratio: float = archive.report().ratio
wrong: int = load("net.compressed.safetensors")  # wrong
compress(Net(), plan, guidence={})  # wrong
"""


def test_types_from_a_user_s_side(site: Path, tmp_path: Path) -> None:
    from mypy import api

    script, settings = tmp_path / "user.py", tmp_path / "mypy.ini"
    script.write_text(USER)
    settings.write_text(
        f"[mypy]\nstrict = true\ndisallow_subclassing_any = false\nmypy_path = {site}\n"
        f"cache_dir = {tmp_path / 'cache'}\n"
        "[mypy-lightning_compress.*]\nfollow_imports = silent\n"
        f"[mypy-{','.join(f'{name}.*' for name in NOT_READ)}]\nfollow_imports = skip\n"
    )
    out, errors, _ = api.run(["--config-file", str(settings), str(script)])
    found = [line for line in out.splitlines() if "error: " in line]
    assert not errors
    wrong = [number for number, line in enumerate(USER.splitlines(), 1) if line.endswith("# wrong")]
    assert [int(line.split(":")[1]) for line in found] == wrong, out
