"""A process that is forked while other threads compress can compress too."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest
import torch

from lightning_compress import Grid, GroupWise, Half, Interval, Plan, Prune, Rule, compress

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks a process of several threads"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
_SECONDS = 60.0
_CHILDREN = 3
STATE = {"a": torch.randn(40, 30, generator=torch.Generator().manual_seed(0)), "b": torch.ones(70, 3)}
PLANS = [Plan(Rule("*", *ms)) for ms in ((Grid(0.1),), (GroupWise(4),), (Prune(0.2), Interval(4), Half()))]


def _ended(child: int) -> bool:
    """Whether a process ends in time, without an error; one that does not is killed."""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def test_a_child_of_a_compressing_process_does_not_hang() -> None:
    expected = [compress(STATE, plan).streams for plan in PLANS]
    stop, threads = threading.Event(), []

    def work(plan: Plan) -> None:
        while not stop.is_set():
            compress(STATE, plan)

    for plan in PLANS:
        threads.append(threading.Thread(target=work, args=(plan,)))
        threads[-1].start()
    try:
        for _ in range(_CHILDREN):
            time.sleep(0.02)
            child = os.fork()
            if not child:
                same = [compress(STATE, plan).streams for plan in PLANS] == expected
                os._exit(0 if same else 1)
            assert _ended(child)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
