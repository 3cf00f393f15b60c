"""What ranks agree on, with a strategy that only pretends to have others, and what is reduced over them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torchmetrics import MeanMetric

from lightning_compress.callbacks.hooks import shared_validation
from lightning_compress.callbacks.hooks.logged import CapturedMetrics, Part
from lightning_compress.callbacks.hooks.shared_validation import led_by_rank_zero, validated_by_all
from lightning_compress.errors import CallbackError
from lightning_compress.search.evaluate import SearchStoppedError


def logged(*values, size=1, **options):
    captured = CapturedMetrics()
    for value in values:
        captured.log("score", value, batch_size=size, **options)
    return captured


def reduced(first, *others):
    return first.value("score", [captured.part("score") for captured in (first, *others)])


def test_a_mean_is_weighted_by_the_sizes_of_the_batches_of_all_ranks():
    assert reduced(logged(1.0, 3.0, size=2), logged(8.0, size=4)) == pytest.approx((2 + 6 + 32) / 8)


@pytest.mark.parametrize(("how", "expected"), [("max", 8.0), ("min", 1.0)])
def test_least_and_largest_values_are_those_of_all_ranks(how, expected):
    assert reduced(logged(1.0, 3.0, reduce_fx=how), logged(8.0, reduce_fx=how)) == expected


@pytest.mark.parametrize(("sync_dist", "expected"), [(True, 12.0), (False, 4.0)])
def test_a_sum_is_that_of_all_ranks_if_lightning_adds_it_up(sync_dist, expected):
    options = {"reduce_fx": torch.sum, "sync_dist": sync_dist}
    assert reduced(logged(1.0, 3.0, **options), logged(8.0, **options)) == expected


def test_what_rank_zero_alone_logs_is_its_value():
    assert reduced(logged(2.0, sync_dist=True), CapturedMetrics()) == 2.0


def test_a_metric_that_one_rank_does_not_log_is_an_error_and_not_a_wait():
    with pytest.raises(CallbackError, match="only some processes log 'score' as a metric of torchmetrics"):
        reduced(logged(MeanMetric()), CapturedMetrics())
    assert logged(MeanMetric()).part("score") == Part(True, ())


def test_a_validation_by_all_needs_all():
    with pytest.raises(CallbackError, match="'score' can be validated by 2 processes only while all of them wait"):
        validated_by_all(SimpleNamespace(world_size=2), torch.nn.Linear(1, 1), "score")


def test_with_one_process_the_work_is_done_and_its_error_raised():
    done = []
    run = SimpleNamespace(world_size=1, is_global_zero=True)
    led_by_rank_zero(run, lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        led_by_rank_zero(run, lambda: 1 / 0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SearchStoppedError("SIGTERM"), SearchStoppedError),
        (KeyboardInterrupt(), SearchStoppedError),
        (ValueError("wrong"), CallbackError),
    ],
)
def test_a_process_that_is_to_end_ends_the_search_of_rank_zero(other, expected):
    """So the search returns the best file found; another error ends it without one."""

    class WithFailing:
        """What another rank sends, whose step fails."""

        def objects(self, own):
            def fail():
                raise other

            return [own, shared_validation._attempted(fail)[0]]

    with pytest.raises(expected, match=f"failed on rank 1: {type(other).__name__}"):
        shared_validation._on_all(WithFailing(), lambda: 1)
