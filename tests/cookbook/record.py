"""Writes the outputs that the pages of the cookbook show: ``python tests/cookbook/record.py [NAME …]``."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from fresh_process import in_fresh_process
from scripts import FOLDER, SCRIPTS, run_script

if __name__ == "__main__":
    for name in sys.argv[1:] or SCRIPTS:
        with TemporaryDirectory() as folder:
            output = in_fresh_process(run_script, name, Path(folder))
        (FOLDER / "output" / f"{name}.txt").write_text(output, "utf-8")
