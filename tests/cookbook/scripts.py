"""The scripts of the cookbook, each run as a user runs it, in a process and a folder of its own."""

from __future__ import annotations

import ast
import os
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "cookbook"
ARGUMENTS = {"lightning_cli": ["fit"]}
NEEDS = {"hydra_config": "hydra", "lora": "peft"}
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))
PACKAGE = "lightning_compress"


def run_script(name: str, folder: Path) -> str:
    """What a script and the package show; called in a new process. The lines of Lightning are left out.

    Scripts write to the standard output, Lightning to the standard error, and so does the package through Lightning.
    """
    os.chdir(folder)
    for stream, file in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    path = FOLDER / f"{name}.py"
    sys.argv = [str(path), *ARGUMENTS.get(name, [])]
    runpy.run_path(str(path), run_name="__main__")
    sys.stdout.flush()
    messages = [line for line in Path("stderr.txt").read_text("utf-8").splitlines() if " → " in line]
    return "".join(f"{line.rstrip()}\n" for line in [*messages, *Path("stdout.txt").read_text("utf-8").splitlines()])


def lines_of_ours(name: str) -> list[int]:
    """Numbers of the lines of a script that exist because of the package: they use a name imported from it."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == PACKAGE]
    names = {alias.asname or alias.name for node in imports for alias in node.names}
    used = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names}
    texts = {n.lineno for n in ast.walk(tree) if isinstance(n, ast.Constant) and str(n.value).startswith(f"{PACKAGE}.")}
    return sorted({node.lineno for node in imports} | used | texts)
