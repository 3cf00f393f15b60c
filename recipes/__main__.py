"""``python -m recipes``: the commands of :mod:`recipes.command`, the demo and the paper's experiments."""

import sys
from importlib import import_module

from recipes.command import main

PROGRAMS = {"demo": "recipes.demo.__main__", "paper": "recipes.paper.command"}  # commands with a module of their own

if __name__ == "__main__":
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in PROGRAMS:
        import_module(PROGRAMS[command]).main(sys.argv[2:])
    else:
        main()
