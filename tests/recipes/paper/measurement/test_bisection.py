"""The largest good setting: found, with few evaluations, against made-up scores."""

import math

import pytest

from recipes.paper.measurement.bisection import bisect_largest


@pytest.mark.parametrize("count", [1, 2, 7, 26, 50])
def test_every_border_is_found_with_few_looks(count):
    settings = list(range(count))
    for border in range(count + 1):
        seen = []

        def is_good(setting, border=border, seen=seen):
            seen.append(setting)
            return setting < border

        found = bisect_largest(settings, is_good)
        assert found.setting == (border - 1 if border else None)
        assert found.evaluations == len(seen) == len(set(seen)) <= math.ceil(math.log2(count + 1))


def test_where_noise_breaks_the_order_the_answer_is_good_and_its_next_is_not():
    good = [True, True, False, True, True, False, True, False, False, False]
    found = bisect_largest(range(len(good)), good.__getitem__)
    assert good[found.setting]
    assert not good[found.setting + 1]


def test_nothing_to_try():
    assert bisect_largest([], lambda setting: True).setting is None
