"""A virtual environment with pinned versions for programs that do not fit beside the package.

NNCodec 2.1.3 wants numpy below 2, and declares torchvision, OpenCV and others that it does not need to code tensors.
"""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

from benchmarks.rate_distortion.source import digest_of_files

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
WITHOUT_DEPENDENCIES = ["nncodec==2.1.3"]
CODE = (REQUIREMENTS, Path(__file__), HERE / "worker.py")


def environment(folder: Path) -> Path:
    """The Python of the peers' environment, which is made (a minute, 1 GB) unless it is there as it should be.

    Raises:
        RuntimeError: pip could not install the packages.
    """
    python, ready = folder / "bin" / "python", folder / "ready"
    wanted = digest_of_files(CODE[:2])
    if ready.exists() and ready.read_text() == wanted:
        return python
    ready.unlink(missing_ok=True)
    venv.create(folder, with_pip=True, clear=True)
    for packages in (["--requirement", str(REQUIREMENTS)], ["--no-deps", *WITHOUT_DEPENDENCIES]):
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f"the peers' environment in {folder} could not be made: {' '.join(pip)} ended with\n"
                f"{done.stderr.strip()}\n"
                "Install what is missing, or name the methods to measure with --method and leave nncodec out."
            )
    ready.write_text(wanted)
    return python


def work(python: Path, *arguments: str) -> None:
    """Run the worker with these arguments on one thread.

    Raises:
        RuntimeError: it failed; the message has the end of what it printed.
    """
    command = [str(python), str(HERE / "worker.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
