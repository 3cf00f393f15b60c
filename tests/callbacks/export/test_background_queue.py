"""The queue of exports in the background, with a worker whose progress each test decides."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from each_case import naming
from fake_worker import Workers
from small_trainings import Small
from torch import nn

from lightning_compress import Archive, Half, Plan, Rule, Weights, compress
from lightning_compress.callbacks.export.background import dispatch
from lightning_compress.callbacks.export.background import queue as queue_module
from lightning_compress.callbacks.export.background.messages import Failed, Refused, Started
from lightning_compress.callbacks.export.background.queue import BackgroundQueue
from lightning_compress.callbacks.export.background.shared_weights import MemoryPool, SharedWeights, read_shared
from lightning_compress.callbacks.export.exporter import Exporter
from lightning_compress.callbacks.export.exports import Exports
from lightning_compress.callbacks.export.jobs import DeleteJob, ExportJob, LinkJob
from lightning_compress.callbacks.export.policy import Policy
from lightning_compress.callbacks.export.publishing import Publishing
from lightning_compress.callbacks.moments import Moments
from lightning_compress.compression import GuidedPlan
from lightning_compress.errors import CallbackError, PlanError
from lightning_compress.messages.log_once import log_once

HALF = Plan.resolve("half")


@pytest.fixture(autouse=True)
def forget_messages():
    log_once.cache_clear()


def a_queue(workers, when_full="wait", when="all", plan=HALF):
    exporter = Exporter(lambda weights: compress(weights, plan), Policy(Moments.policy(when)))
    return BackgroundQueue(exporter, GuidedPlan(plan), when_full, workers.start)


def export(folder, name, width=8):
    target, checkpoint = str(folder / f"{name}.compressed.safetensors"), str(folder / f"{name}.ckpt")
    return ExportJob(target, checkpoint, Weights.from_module(Small(width)), 1, 0, {}, frozenset(), False)


def name_of(outcome):
    return Path(outcome.job.target).name.removesuffix(".compressed.safetensors")


def files(folder):
    return {path.name.removesuffix(".compressed.safetensors") for path in folder.iterdir()}


def width_in(folder, name):
    return len(Archive.open(folder / f"{name}.compressed.safetensors").restore()["net.0.bias"])


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith("lightning_compress")]


def test_the_copy_in_shared_memory_compresses_to_the_same_bytes(tmp_path):
    base, tied = torch.randn(6, 8), nn.Parameter(torch.randn(4, 4))
    state = {
        "transposed": base.T,
        "part": base[1:3, ::2],
        "tied": tied,
        "tied too": tied,
        "conjugate": torch.randn(3, dtype=torch.complex64).conj(),
        "one": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "stride": torch.ones(4)[::4],
        "bool": torch.tensor([True, False]),
        "small": torch.randn(5).to(torch.float8_e4m3fn),
        **{str(dtype): torch.arange(7).to(dtype) for dtype in (torch.bfloat16, torch.int64, torch.uint16)},
    }
    weights, pool = Weights.from_state_dict(state, hyper_parameters={"width": 3}), MemoryPool()
    copy = SharedWeights.copy_of(weights, pool)
    again = read_shared(copy.memory.descriptor, copy.contents_at, copy.nbytes)
    expected = compress(weights, HALF)
    expected.save(tmp_path / "expected")
    for position, copied in enumerate((copy.weights, again)):
        assert copied.fingerprint == weights.fingerprint
        compress(copied, HALF).save(tmp_path / str(position))
        assert (tmp_path / str(position)).read_bytes() == (tmp_path / "expected").read_bytes()
    again.weights[0].tensor.zero_()
    assert copy.weights.fingerprint == SharedWeights.copy_of(weights, pool).weights.fingerprint


def test_memory_is_used_again_and_outcomes_keep_theirs_until_the_next_call(tmp_path):
    queue = a_queue(Workers())
    memories = set()
    for name in "abcd":
        job = export(tmp_path, name)
        queue.prepare(job.target)
        for outcome in queue.completed():
            assert outcome.job.weights.state_dict()["net.0.bias"].equal(job.weights.state_dict()["net.0.bias"])
            memories.add(outcome.job.weights.weights[0].tensor.data_ptr())
        queue.submit(job)
    queue.finish(10)
    assert len(queue.completed()) == 1
    assert len(memories) <= 2


def test_what_happens_when_the_queue_is_full(tmp_path, caplog):
    for when_full, kept, dropped in (("wait", "abc", ""), ("skip", "ab", "c"), ("latest", "ac", "b")):
        with naming(when_full):
            folder, workers = tmp_path / when_full, Workers(polls=3)
            folder.mkdir()
            for name in "abc":  # of an earlier save under this name
                compress(Small(4), HALF).save(folder / f"{name}.compressed.safetensors")
            queue = a_queue(workers, when_full)
            for name in "abc":
                queue.submit(export(folder, name))
                assert name not in files(folder), "the weights of the earlier save"
            queue.finish(10)
            outcomes = queue.completed()
            assert "".join(name_of(outcome) for outcome in outcomes) == kept
            assert not any(outcome.error for outcome in outcomes)
            assert files(folder) == set(kept)
            messages = [line for line in lines(caplog) if f"background={when_full!r}" in line]
            assert [
                str(folder / f"{name}.compressed.safetensors") in line for line in messages for name in dropped
            ] == [True for _ in dropped]


def test_a_deletion_cancels_the_export_that_waits_or_is_in_work(tmp_path):
    workers = Workers(polls=None)
    queue = a_queue(workers)
    queue.submit(export(tmp_path, "a"))
    queue.submit(export(tmp_path, "b"))
    queue.submit(LinkJob(str(tmp_path / "last.compressed.safetensors"), str(tmp_path / "b.compressed.safetensors")))
    queue.submit(DeleteJob(str(tmp_path / "b.compressed.safetensors")))
    queue.submit(DeleteJob(str(tmp_path / "a.compressed.safetensors")))
    assert queue.pending == [str(tmp_path / "last.compressed.safetensors")]
    workers.polls = 0
    queue.submit(export(tmp_path, "c"))
    queue.finish(10)
    assert files(tmp_path) == {"c"}
    assert [outcome.job.target for outcome in queue.completed() if outcome.export] == [
        str(tmp_path / "c.compressed.safetensors")
    ]


def test_the_file_of_an_earlier_save_never_gets_the_name_of_a_checkpoint_that_was_saved_again(tmp_path):
    for polls in (None, 0, 1):
        with naming(polls):
            workers = Workers(polls=polls)
            queue = a_queue(workers)
            queue.submit(export(tmp_path, "a", width=8))
            queue.submit(export(tmp_path, "a", width=6))
            assert not files(tmp_path) or width_in(tmp_path, "a") == 6
            workers.polls = 0
            queue.finish(10)
            assert width_in(tmp_path, "a") == 6
            assert len([outcome for outcome in queue.completed() if outcome.export]) in (1, 2)


def test_a_verified_file_of_an_earlier_save_is_not_committed_while_the_next_save_is_submitted(tmp_path):
    workers = Workers(polls=None)
    queue = a_queue(workers)
    trainer, loggers = SimpleNamespace(is_global_zero=True), Publishing(artifacts=False, pictures=False)
    exports = Exports(queue._exporter, loggers, "warn", None)
    exports._queue = queue
    exports._publishing.new_file = lambda *_, **__: None
    exports.submit(trainer, export(tmp_path, "a", width=8))
    workers.polls = 0  # the file is verified now, and waits for its name
    exports.submit(trainer, export(tmp_path, "a", width=6))
    queue.finish(10)
    assert workers.commits == [2]
    assert width_in(tmp_path, "a") == 6


def test_a_link_follows_its_export_and_leads_to_no_earlier_file_meanwhile(tmp_path):
    workers = Workers()
    queue = a_queue(workers)
    link = str(tmp_path / "last.compressed.safetensors")
    for name in "ab":
        workers.polls = None
        queue.submit(export(tmp_path, name))
        queue.submit(LinkJob(link, str(tmp_path / f"{name}.compressed.safetensors")))
        assert not Path(link).is_symlink()
        workers.polls = 0
        queue.finish(10)
        assert Path(link).resolve() == tmp_path / f"{name}.compressed.safetensors"
    workers.polls = None
    queue.submit(export(tmp_path, "b", width=6))  # written anew: the link to it stays
    assert Path(link).is_symlink()
    assert not Path(link).exists()
    workers.polls = 0
    queue.finish(10)
    assert width_in(tmp_path, "last") == 6
    workers.polls = None
    queue.submit(export(tmp_path, "b", width=4))
    queue.submit(DeleteJob(str(tmp_path / "b.compressed.safetensors")))  # is not written: the link goes, too
    assert files(tmp_path) == {"a"}


def test_the_file_before_is_deleted_only_after_its_successor_is_written(tmp_path):
    workers = Workers()
    queue = a_queue(workers, when="last")
    queue.submit(export(tmp_path, "a"))
    queue.finish(10)
    workers.polls = None
    queue.submit(export(tmp_path, "b", width=6))
    queue.completed()
    assert files(tmp_path) == {"a"}
    workers.polls = 0
    queue.finish(10)
    assert files(tmp_path) == {"b"}


def test_a_worker_that_ends_is_replaced_once_for_each_export(tmp_path, caplog):
    for ends in (1, 2, 3):
        with naming(ends):
            caplog.clear()
            workers = Workers(ends=ends)
            queue = a_queue(workers)
            folder = tmp_path / str(ends)
            folder.mkdir()
            queue.submit(export(folder, "a"))
            queue.finish(10)
            queue.submit(export(folder, "b"))
            queue.finish(10)
            outcomes = queue.completed()
            assert [outcome.error is None for outcome in outcomes] == [ends == 1, True]
            assert files(folder) == ({"a", "b"} if ends == 1 else {"b"})
            told = [
                line for line in lines(caplog) if "a.compressed.safetensors is written again by a new worker" in line
            ]
            assert len(told) == 1
            if ends > 1:
                assert isinstance(outcomes[0].error, CallbackError)
                assert str(folder / "a.compressed.safetensors") in str(outcomes[0].error)
                assert "killed by signal 9" in str(outcomes[0].error)


def test_a_worker_that_is_silent_for_long_is_killed_and_replaced(tmp_path, caplog, monkeypatch):
    now = [0.0]

    def later():
        now[0] += 200.0  # at each look
        return now[0]

    monkeypatch.setattr(dispatch, "monotonic", later)
    for hangs in (1, 2):
        with naming(hangs):
            caplog.clear()
            workers = Workers(hangs=hangs)
            queue = a_queue(workers)
            folder = tmp_path / str(hangs)
            folder.mkdir()
            for name in "abcd":
                queue.submit(export(folder, name))  # which waits for the first file
            queue.finish(10)
            outcomes = {name_of(outcome): outcome.error for outcome in queue.completed()}
            assert [worker.ended for worker in workers.started] == ["killed"] * hangs + [None]
            assert files(folder) == (set("abcd") if hangs == 1 else set("bcd"))
            assert [name for name, error in outcomes.items() if error] == ([] if hangs == 1 else ["a"])
            if hangs == 2:
                assert "not answered" in str(outcomes["a"])
            (told,) = [line for line in lines(caplog) if "written again" in line]
            assert "was killed, because it had not answered for" in told


def test_without_a_usable_worker_files_are_written_inline_and_the_reason_is_logged_once(tmp_path, caplog):
    def refuse(_):
        raise OSError("no more processes")

    def not_imported(setup):
        worker = Workers().start(setup)
        worker.answers[0] = Started("AttributeError: no MidRise in __main__")
        return worker

    def ends_early(setup):
        worker = Workers(ends=1).start(setup)
        worker.answers.clear()
        return worker

    class Local(Half):
        """Cannot be pickled: it is inside a function."""

    unpicklable = Plan(Rule("*", Half(), optional=True))
    object.__setattr__(unpicklable.rules[0], "methods", (Local(),))
    cases = (
        ("no process", refuse, HALF, "no more processes"),
        ("not imported", not_imported, HALF, "no MidRise in __main__"),
        ("ends early", ends_early, HALF, "killed by signal 9"),
        ("not pickled", Workers().start, unpicklable, "Local"),
        ("weights refused", Workers(answer=lambda n: Refused(n, "no Width")).start, HALF, "no Width"),
    )
    for name, start, plan, reason in cases:
        with naming(name):
            caplog.clear()
            log_once.cache_clear()
            folder = tmp_path / name
            folder.mkdir()
            queue = a_queue(Workers(), plan=plan)
            queue._in_work._dispatcher._start = start
            queue._exporter.writer._compress = lambda weights: compress(weights, HALF)
            queue.submit(export(folder, "a"))
            queue.submit(export(folder, "b", width=6))
            queue.submit(LinkJob(str(folder / "last.compressed.safetensors"), str(folder / "b.compressed.safetensors")))
            queue.finish(10)
            assert [outcome.error for outcome in queue.completed()] == [None] * 3
            assert files(folder) == {"a", "b", "last"}
            (line,) = lines(caplog)
            assert "in the training process" in line
            assert reason in line


def test_an_error_in_the_worker_comes_back_with_its_class_its_text_and_its_cause(tmp_path):
    cause = OSError(28, "No space left on device")
    queue = a_queue(Workers(answer=lambda number: Failed(number, PlanError("does not fit"), cause)))
    queue.submit(export(tmp_path, "a"))
    queue.finish(10)
    (outcome,) = queue.completed()
    assert type(outcome.error) is PlanError
    assert str(outcome.error) == "does not fit"
    assert outcome.error.__cause__ is cause
    assert files(tmp_path) == set()


def test_the_end_waits_a_limited_time_and_logs_for_what(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(queue_module, "_QUIET_SECONDS", 0.0)
    workers = Workers(polls=None)
    queue = a_queue(workers)
    queue.submit(export(tmp_path, "a"))
    queue.submit(export(tmp_path, "b"))
    queue.submit(LinkJob(str(tmp_path / "last.compressed.safetensors"), str(tmp_path / "b.compressed.safetensors")))
    queue.finish(0.05)
    assert [type(outcome.error) for outcome in queue.completed()] == [CallbackError, CallbackError, type(None)]
    assert files(tmp_path) == set()
    assert workers.started[0].ended == "killed"
    (line,) = lines(caplog)
    assert "waiting for 3 companion files: " in line
    assert str(tmp_path / "a.compressed.safetensors") in line


def test_an_interrupt_while_the_worker_is_asked_loses_no_export(tmp_path, monkeypatch):
    workers = Workers()
    queue = a_queue(workers)
    queue.submit(export(tmp_path, "a"))

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(workers.started[0], "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.completed()
    assert workers.started[0].ended == "killed"
    queue.finish(10)
    queue.close()
    assert [outcome.error for outcome in queue.completed()] == [None]
    assert files(tmp_path) == {"a"}
    assert workers.started[1].ended == "ended"


def test_a_remote_file_is_written_here_in_its_turn(tmp_path, caplog):
    queue = a_queue(Workers(polls=1))
    queue.submit(export(tmp_path, "a"))
    job = export(tmp_path, "b")
    queue.submit(dataclasses.replace(job, target="memory://background/b.compressed.safetensors"))
    assert Archive.open("memory://background/b.compressed.safetensors").manifest.fingerprint == job.weights.fingerprint
    assert [outcome.error for outcome in queue.completed()] == [None, None]
    (line,) = lines(caplog)
    assert "remote" in line
