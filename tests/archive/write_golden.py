"""Write missing golden files, never overwriting one: ``python tests/archive/write_golden.py``."""

from __future__ import annotations

import sys

from golden_models import FOLDER, MODELS


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (build, newest) in MODELS.items():
        path = FOLDER / f"{name}.{newest}.safetensors"
        if path.exists():
            sys.stdout.write(f"kept  {path.name}\n")
        else:
            sys.stdout.write(f"wrote {path.name}, {build().save(path)} bytes\n")


if __name__ == "__main__":
    main()
