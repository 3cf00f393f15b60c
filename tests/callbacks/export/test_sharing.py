"""Ranks that code sharded weights together: threads take the place of processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from lightning_compress import Half, Interval, KMeans, Plan, Prune, Rule, compress
from lightning_compress.callbacks.export.sharing import SharedWeights
from lightning_compress.compression import GuidedPlan, TensorWork
from lightning_compress.errors import CallbackError
from lightning_compress.weights import Weights

RANKS = 3
PLAN = Plan(
    Rule("*.bias", Half()),
    Rule("2.*", KMeans(8)),
    Rule("*.weight", Prune(0.3, "class-blind"), Interval(4), Half()),
)


class Meeting:
    """The exchange of all ranks."""

    def __init__(self):
        self.barrier, self.sent = threading.Barrier(RANKS, timeout=20), {}

    def of(self, rank):
        meeting = self

        class OfRank:
            ranks = RANKS

            def __init__(self):
                self.rank = rank

            def objects(self, own):
                meeting.sent[rank] = own
                meeting.barrier.wait()
                found = [meeting.sent[each] for each in range(RANKS)]
                meeting.barrier.wait()
                return found

        return OfRank()


class Shard:
    """A part of a tensor that all ranks put together."""

    def __init__(self, whole, meeting):
        self.whole, self.meeting, self.dtype, self.shape = whole, meeting, whole.dtype, whole.shape

    def full_tensor(self):
        self.meeting.barrier.wait()
        return self.whole.clone()


def state():
    torch.manual_seed(0)
    layers = {f"{layer}.{part}": torch.randn(20, 30) for layer in range(6) for part in ("weight", "bias")}
    pruned = {"p.weight_orig": torch.randn(9, 8), "p.weight_mask": (torch.rand(9, 8) > 0.5).float()}
    return layers | pruned | {"steps": torch.tensor(3)}


def together(work):
    """What ``work`` returns on rank 0, which gets the shared weights; the other ranks serve it."""
    meeting, whole = Meeting(), state()

    def of_rank(rank):
        own = {n: Shard(t, meeting) if n != "steps" else t.clone() for n, t in whole.items()}
        shared = SharedWeights(own, meeting.of(rank), torch.device("cpu"))
        return shared.led(lambda: work(shared))

    with ThreadPoolExecutor(RANKS) as pool:
        found = list(pool.map(of_rank, range(RANKS)))
    assert found[1:] == [None] * (RANKS - 1)
    return found[0]


def test_the_file_is_that_of_one_process_and_each_rank_codes_its_part(tmp_path, monkeypatch):
    coded, original = {}, TensorWork.coded

    def counting(self, values):
        coded.setdefault(threading.get_ident(), []).append(values.nbytes)
        return original(self, values)

    monkeypatch.setattr(TensorWork, "coded", counting)

    def export(shared):
        weights = Weights.from_state_dict(shared.state)
        return GuidedPlan(PLAN).compress_together(weights, shared.coded)

    archive = together(export)
    per_thread = sorted(map(sum, coded.values()))
    assert len(per_thread) == RANKS + 1  # rank 0 codes what is not sharded in its main thread
    assert per_thread[1:] == [4 * 20 * 30 * 4] * RANKS
    archive.save(tmp_path / "together")
    compress(state(), PLAN).save(tmp_path / "alone")
    assert (tmp_path / "together").read_bytes() == (tmp_path / "alone").read_bytes()


def test_after_the_export_no_tensor_is_put_together_any_more():
    weights = together(lambda shared: Weights.from_state_dict(shared.state))
    with pytest.raises(CallbackError, match=r"the shards of '0\.weight' are no longer held for this export"):
        weights.weights[0].tensor.detach()


def test_a_rank_that_fails_ends_the_work_of_all(monkeypatch):
    def failing(self, values):
        raise MemoryError("no memory left")

    monkeypatch.setattr(TensorWork, "coded", failing)

    def export(shared):
        weights = Weights.from_state_dict({n: t for n, t in shared.state.items() if n[0] in "012345"})
        with pytest.raises((CallbackError, MemoryError), match="no memory left"):
            GuidedPlan(PLAN).compress_together(weights, shared.coded)
        return "told"

    assert together(export) == "told"
