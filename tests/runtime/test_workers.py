"""Several threads: results in order, bytes that do not depend on their number, errors, and limits."""

from __future__ import annotations

import threading

import pytest
import torch

from lightning_compress import Grid, Half, Interval, Plan, Prune, Raw, Rule, compress
from lightning_compress.archive import Archive, limits
from lightning_compress.archive.limits import workers_within
from lightning_compress.errors import ChecksumError
from lightning_compress.runtime import beside, in_order, limited_workers, worker_count


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_from_several_threads_that_have_one_worker_each(workers: int) -> None:
    barrier, seen = threading.Barrier(workers), set()

    def work(number: int) -> tuple[int, int]:
        if number < workers:
            barrier.wait(20)  # passes only if as many threads are at work as are asked for
        seen.add(threading.get_ident())
        return number * number, worker_count()

    found = list(in_order(work, range(30), workers))
    assert [square for square, _ in found] == [number * number for number in range(30)]
    assert len(seen) == workers
    if workers > 1:
        assert {count for _, count in found} == {1}


def test_items_are_taken_as_results_are_and_an_error_stands_where_its_result_would() -> None:
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 3:
            raise KeyError(number)
        return number

    results = in_order(work, items(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError):
        next(results)
    assert len(taken) <= 8


def test_the_largest_items_are_begun_first_and_one_thread_takes_the_smallest() -> None:
    sizes, begun, all_wait = [5, 6, 4, 3, 9, 1, 7], [], threading.Event()

    def items():
        yield from sizes
        all_wait.set()

    def work(size: int) -> int:
        begun.append(size)
        all_wait.wait(20)  # two are begun until all are there
        return size * size

    assert list(in_order(work, items(), 2, size=lambda size: size)) == [size * size for size in sizes]
    rest = [size for size in sizes if size not in begun[:2]]
    assert sorted(begun) == sorted(sizes)
    assert set(begun[2:4]) & {max(rest), min(rest)}, begun  # in their order these would be 4 and 3


def test_items_of_a_size_are_begun_while_they_have_256_mib_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_compress.runtime.workers._MANY_BYTES", 100)
    taken: list[int] = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), 2, size=lambda number: 10)
    assert next(results) == 0
    assert len(taken) == 11
    assert list(results) == list(range(1, 50))


def test_an_error_of_an_item_with_a_size_stands_where_its_result_would() -> None:
    def work(number: int) -> float:
        return 1 / (number - 3)

    results = in_order(work, range(10), 2, size=lambda number: number)
    assert [next(results) for _ in range(3)] == [1 / -3, 1 / -2, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_limit_holds_in_its_thread_and_ends() -> None:
    before = worker_count()
    with limited_workers(1):
        assert worker_count() == 1
        with limited_workers(4):
            assert worker_count() == 1
    assert worker_count() == before


def test_a_function_beside_a_block_has_one_worker_and_its_error_is_raised_where_its_result_is() -> None:
    caller = threading.get_ident()
    for in_thread in (True, False):
        with beside(lambda: (threading.get_ident(), worker_count()), in_thread=in_thread) as result:
            thread, workers = result()
        assert (thread == caller) != (in_thread and worker_count() > 1)
        assert workers == 1 or not in_thread
    with limited_workers(1), beside(threading.get_ident) as result:
        assert result() == caller
    with beside(lambda: 1 // 0) as result, pytest.raises(ZeroDivisionError):
        result()


def test_a_block_that_ends_early_does_not_wait_for_the_function_beside_it() -> None:
    begun, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait(20)
        ended.set()

    def stopped() -> None:
        with beside(work):
            begun.wait(20)
            raise KeyboardInterrupt

    if worker_count() == 1:
        pytest.skip("needs two cores")
    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not ended.is_set()
    goes_on.set()
    assert ended.wait(20)


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {f"layer{number}": torch.randn(300 + number, 400, generator=generator) * 0.04 for number in range(6)}


def test_files_and_tensors_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = [Rule(f"layer{number}", Prune(0.3, "class-uniform"), Interval(4)) for number in (2, 3)]
    plan = Plan(Rule("layer0", Raw()), Rule("layer1", Half()), *narrow, Rule("*", Grid(0.03)))
    found = []
    for workers in (1, 3):
        for module in ("weights", "runtime"):
            monkeypatch.setattr(f"lightning_compress.{module}.workers.worker_count", lambda workers=workers: workers)
        monkeypatch.setattr("lightning_compress.archive.limits.worker_count", lambda workers=workers: workers)
        seen: list[str] = []
        archive = compress(state(), plan, on_tensor=lambda weight, seen=seen: seen.append(weight.name))
        assert workers_within(archive.manifest) == min(workers, archive.manifest.raw_bytes >> 21)
        found.append((archive.streams, archive.manifest, seen, archive.restore()))
    assert found[0][:3] == found[1][:3]
    assert all(torch.equal(tensor, found[1][3][name]) for name, tensor in found[0][3].items())


def test_damage_is_reported_for_the_first_tensor_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = compress(state(), Plan(Rule("*", Half())))
    streams = {name: bytes(data) for name, data in archive.streams.items()}
    for name in ("layer2", "layer4"):
        streams[name] = streams[name][:-1] + bytes([streams[name][-1] ^ 1])
    monkeypatch.setattr("lightning_compress.archive.limits.worker_count", lambda: 4)
    with pytest.raises(ChecksumError, match="'layer2'"):
        Archive(archive.manifest, streams).verify()


def test_threads_are_as_few_as_the_limit_of_memory_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = compress(state(), Plan(Rule("*", Half()))).manifest
    monkeypatch.setattr(limits, "worker_count", lambda: 8)
    assert workers_within(manifest) == manifest.raw_bytes >> 21
    monkeypatch.setattr(limits, "MEMORY_FACTOR", 1)
    monkeypatch.setattr(limits, "MEMORY_BASE", 0)
    assert workers_within(manifest) == 1
