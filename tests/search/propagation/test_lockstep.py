"""Functions in lockstep: the order in which they go on, what each point gets, and what happens where one fails."""

from __future__ import annotations

import threading

import pytest
import torch
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_compress.search.propagation.lockstep import run_in_lockstep


def at(*orders):
    """A function that waits at these points, with its first order and the point as value."""

    def function(wait):
        for order in orders:
            wait(order, (orders[0], order))

    return function


def arrivals(functions):
    found = []
    run_in_lockstep(functions, lambda order, values: found.append((order, dict(values))))
    return found


def test_all_arrive_at_a_point_before_any_goes_on():
    assert arrivals([at(1, 2), at(1, 2)]) == [(1, {0: (1, 1), 1: (1, 1)}), (2, {0: (1, 2), 1: (1, 2)})]


def test_a_function_without_a_point_and_one_that_ends_early_do_not_hold_up_the_others():
    assert arrivals([at(), at(1), at(1, 5)]) == [(1, {1: (1, 1), 2: (1, 1)}), (5, {2: (1, 5)})]
    assert arrivals([]) == []


def test_the_lowest_point_is_first_where_functions_wait_at_different_ones():
    assert [order for order, _ in arrivals([at(7, 8), at(3, 7), at(9)])] == [3, 7, 8, 9]


def test_one_thread_runs_at_a_time():
    running, most = [], []

    def function(wait):
        for order in range(20):
            running.append(order)
            most.append(len(running))
            running.pop()
            wait(order, None)

    run_in_lockstep([function] * 8, lambda order, values: most.append(len(running)))
    assert max(most) == 1
    assert len(most) == 8 * 20 + 20


@pytest.mark.parametrize("failing", ["function", "arrived"])
def test_an_error_is_raised_and_ends_the_other_functions(failing):
    ended, before = [], threading.active_count()

    def waits(wait):
        try:
            wait(1, None)
            wait(2, None)
        finally:
            ended.append(True)

    def fails(wait):
        wait(1, None)
        if failing == "function":
            raise ValueError("broken weights")

    def arrived(order, values):
        if failing == "arrived" and order == 1:
            raise ValueError("broken weights")

    with pytest.raises(ValueError, match="broken weights"):
        run_in_lockstep([waits, fails, waits], arrived)
    assert ended == [True, True]
    assert threading.active_count() == before


def test_code_that_handles_exceptions_is_ended_too():
    def stubborn(wait):
        try:
            wait(1, None)
        except Exception:
            wait(2, None)

    def fails(wait):
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        run_in_lockstep([stubborn, fails], lambda order, values: None)


def test_dispatch_modes_of_functions_are_off_afterwards():
    class Mode(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    def function(wait):
        with Mode():
            wait(1, torch.zeros(1) + 1)

    flags = {name: value for name, value in vars(_python_dispatch).items() if name.startswith("_is_in_")}
    run_in_lockstep([function, function], lambda order, values: None)
    assert {name: vars(_python_dispatch)[name] for name in flags} == flags
    assert not _python_dispatch.is_in_torch_dispatch_mode()
