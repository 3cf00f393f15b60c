"""A search that ends early returns what it has found."""

from __future__ import annotations

import pytest
from small_network import Net, expect_same, state_of
from small_search import Agreement, Rounded

from lightning_compress import smallest
from lightning_compress.errors import SearchError
from lightning_compress.search import SearchStoppedError


class EndsEarly(Agreement):
    """Raises an exception at a call."""

    def __init__(self, module, error, at=5, statistics=False):
        super().__init__(module, statistics=statistics)
        self.error, self.at = error, at

    def __call__(self, module):
        if self.calls + 1 == self.at:
            raise self.error
        return super().__call__(module)


@pytest.fixture
def net():
    return Net()


def searched(net, evaluate, parts=(), **options):
    limit = {} if "max_bytes" in options else {"max_drop": 5.0}
    return smallest(net, evaluate, **limit, families=lambda w: (Rounded(w, parts=parts),), progress=False, **options)


@pytest.mark.parametrize(
    ("error", "name", "told"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt", "returned: KeyboardInterrupt"),
        (KeyError("row 7"), "SearchError", r"bytes with KeyError: 'row 7'"),
        (SearchStoppedError("no time left"), "SearchStoppedError", "returned: SearchStoppedError: no time left"),
    ],
)
def test_the_best_file_so_far_is_returned(net, caplog, error, name, told):
    values, evaluate = state_of(net), EndsEarly(net, error)
    archive = searched(net, evaluate)
    expect_same(net, values)
    found = archive.manifest.metrics["search"]
    assert found["interrupted"] == name
    assert found["drop"] <= 5.0
    assert "fallback" not in found
    assert "ended early, after 5 of at most 16 evaluations" in caplog.text
    assert told in caplog.text
    net.load_state_dict({**net.state_dict(), **archive.restore()})
    assert Agreement(net).right.shape == evaluate.right.shape
    assert float(Agreement.__call__(evaluate, net.eval())) == pytest.approx(found["score_after"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SearchStoppedError("no time left")])
def test_without_a_file_the_exception_is_raised(net, error):
    values = state_of(net)
    with pytest.raises(type(error)):
        searched(net, EndsEarly(net, error, at=3))
    expect_same(net, values)


def test_with_a_given_size_too(net):
    archive = searched(net, EndsEarly(net, KeyboardInterrupt(), at=4), ("embedding", "other"), max_bytes=6000)
    assert archive.nbytes <= 6000
    assert archive.manifest.metrics["search"]["interrupted"] == "KeyboardInterrupt"


def test_other_items_do_not_confirm_what_was_interrupted(net, caplog):
    asked = []
    archive = searched(net, EndsEarly(net, SearchError("x"), statistics=True), confirm=lambda _: asked.append(1))
    assert asked == []
    assert "confirmed" not in archive.manifest.metrics["search"]
    assert "ended early, so the file is not confirmed" in caplog.text


def test_a_confirmation_that_fails_leaves_the_safest_file(net):
    def confirm(module):
        raise OSError("no such file")

    found = searched(net, Agreement(net, statistics=True), confirm=confirm).manifest.metrics["search"]
    assert found["interrupted"] == "SearchError"
    assert found["assured"] > 0.6
    assert "fallback" not in found
