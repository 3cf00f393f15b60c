"""Files of every supported Python and library read by every other.

    python -m benchmarks.reliability.compatibility --python OLD/bin/python NEW/bin/python --state compatibility.json

Each interpreter writes the models of the golden files and the companion file of a short training; then each reads all
of these and all golden files. What they restore must be the same, element by element and value by value. The command
ends with 1 if anything differs. The package is that of this clone; each environment needs its dependencies, such as:

    uv pip install --python OLD/bin/python --resolution lowest-direct .
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zlib import crc32

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "archive" / "golden"
LIBRARIES = ("torch", "pytorch-lightning", "numpy", "numba", "constriction", "backports.zstd", "safetensors", "fsspec")
Read = dict[str, dict[str, Any]]  # file → what it restores to, as text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", type=Path, default=[Path(sys.executable)], help="interpreters")
    parser.add_argument("--state", type=Path, help="file for the results")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_files(arguments.write)
    elif arguments.read:
        print(json.dumps({str(path): read_file(path) for path in arguments.read}))
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = compare(arguments.python, Path(folder))
        print(json.dumps(result, indent=1))
        if arguments.state:
            arguments.state.write_text(json.dumps(result, indent=1) + "\n")
        sys.exit(bool(result["differences"]))


def compare(interpreters: list[Path], folder: Path) -> dict[str, Any]:
    """What each interpreter is, how many files were read, and which of them restore to different values."""
    environments = []
    for number, python in enumerate(interpreters):
        (folder / str(number)).mkdir()
        environments.append(json.loads(_run(python, "--write", str(folder / str(number)))))
    written = sorted(path for path in folder.rglob("*.safetensors"))
    files = [*sorted(GOLDEN.glob("*.safetensors")), *written]
    read: list[Read] = [json.loads(_run(python, "--read", *map(str, files))) for python in interpreters]
    differences = [
        f"{path.name} of {path.parent.name}: {environments[0]['python']} and {environments[number]['python']} differ"
        for path in files
        for number, known in enumerate(read)
        if known[str(path)] != read[0][str(path)]
    ]
    same = [path.name for path in sorted((folder / "0").iterdir()) if _is_same_everywhere(path.name, folder)]
    return {"environments": environments, "files": len(files), "differences": differences, "same bytes": same}


def _is_same_everywhere(name: str, folder: Path) -> bool:
    return len({(place / name).read_bytes() for place in folder.iterdir()}) == 1


def write_files(folder: Path) -> None:
    """Write the models of the golden files and the companion file of a training, and print the versions in use."""
    sys.path.append(str(GOLDEN.parent))
    from golden_models import MODELS

    for name, (build, _) in MODELS.items():
        build().save(folder / f"{name}.safetensors")
    _train(folder)
    libraries = {name: version(name) for name in LIBRARIES}
    print(json.dumps({"python": platform.python_version(), **libraries}))


def _train(folder: Path) -> None:
    """Train for two steps with the callback; the checkpoint itself is deleted."""
    import pytorch_lightning as pl

    from benchmarks.reliability.compatibility_model import Model
    from lightning_compress import CompressCheckpoint

    trainer = pl.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[CompressCheckpoint("half", on_error="raise")],
    )
    pl.seed_everything(1, verbose=False)
    model = Model(size=7, betas=(0.9, 0.98), names=["a", "ß"], limit=float("inf"))
    trainer.fit(model, model.batches())
    trainer.save_checkpoint(folder / "training.ckpt")
    (folder / "training.ckpt").unlink()


def read_file(path: Path) -> dict[str, Any]:
    """The checksum of each tensor with its shape and dtype, and all other values as text."""
    from lightning_compress import load_from_checkpoint
    from lightning_compress.archive import Archive
    from lightning_compress.weights import as_bytes, dump

    archive = Archive.open(path)
    archive.verify()
    tensors = {
        name: [list(tensor.shape), str(tensor.dtype), crc32(as_bytes(tensor).numpy().tobytes())]
        for name, tensor in archive.restore().items()
    }
    record = archive.record()
    values = {name: dump(dict(getattr(record, name))) for name in ("hyper_parameters", "checkpoint")}
    assets = {name: crc32(content) for name, content in archive.assets().items()}
    found: dict[str, Any] = {"tensors": tensors, "values": values, "assets": assets}
    if path.name == "training.safetensors":
        from benchmarks.reliability.compatibility_model import Model

        module = load_from_checkpoint(Model, path)
        found["module"] = {name: crc32(as_bytes(t).numpy().tobytes()) for name, t in module.state_dict().items()}
    return found


def _run(python: Path, *arguments: str) -> str:
    """What the worker prints, in another interpreter."""
    command = [str(python), "-m", "benchmarks.reliability.compatibility", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{python} failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
