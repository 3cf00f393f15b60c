"""Functions run in processes that share nothing with that of the tests, without the seconds that imports take.

The processes are forked from a server that has imported the package and Lightning, and nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

import pytest

Result = TypeVar("Result")
CONTEXT = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Start the fork server of this process; nothing happens if it runs."""
    CONTEXT.set_forkserver_preload(["import_stages"])
    with pytest.MonkeyPatch.context() as patch:
        # The server does not take over sys.path in all versions of Python.
        folders = [str(Path(__file__).parent), *filter(None, sys.path)]
        patch.setenv("PYTHONPATH", os.pathsep.join(folders))
        forkserver.ensure_running()


def in_fresh_processes(function: Callable[..., Result], calls: Iterable[tuple[Any, ...]]) -> list[Result]:
    """Results of the calls, each in a process of its own, all at the same time; the first error is raised."""
    start_server()
    calls = list(calls)
    with ProcessPoolExecutor(len(calls), mp_context=CONTEXT) as pool:
        return [future.result(300) for future in [pool.submit(function, *call) for call in calls]]


def in_fresh_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Result of a call in a process of its own."""
    return in_fresh_processes(function, [arguments])[0]
