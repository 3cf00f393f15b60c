"""Other sizes of a file, from the exact weights and the plan in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_network import Net, state_of
from small_search import Agreement

from lightning_compress import Archive, Half, Plan, Prune, Raw, Rule, compress, retarget, smallest
from lightning_compress.errors import FormatError, SearchError
from lightning_compress.search.record.retargeting import scaled_plan
from lightning_compress.weights import Weights


class Assets(Net):
    """It has a vocabulary, and a teacher that is left out."""

    def __init__(self):
        super().__init__()
        self.teacher = torch.nn.Linear(3, 3)

    def compression_assets(self):
        return {"words.txt": b"a b c"}

    def compression_exclude(self):
        return ["teacher.*"]


@pytest.fixture(scope="module")
def net():
    return Assets()


@pytest.fixture(scope="module")
def found(net):
    archive = smallest(net, Agreement(net), 9.0, progress=False)
    assert "fallback" not in archive.manifest.metrics["search"]
    return archive


@pytest.mark.parametrize("share", [0.85, 1.0, 1.2])
def test_a_size_is_met_as_nearly_as_steps_allow(net, found, tmp_path, share):
    budget = round(found.nbytes * share)
    made = retarget(net, found, budget)
    assert made.save(tmp_path / "made.safetensors") <= budget
    assert made.nbytes >= 0.5 * budget


def test_it_keeps_what_the_file_knows(net, found):
    of_earlier_versions = found.manifest.metrics["search"] | {"recovered": True}
    found = found.with_metrics({"search": of_earlier_versions})
    made = retarget(net, found, found.nbytes)
    assert "recovered" not in made.manifest.metrics["search"]
    first, second = found.manifest, made.manifest
    assert (second.class_path, second.excluded, second.fingerprint) == (
        first.class_path,
        first.excluded,
        first.fingerprint,
    )
    assert made.assets() == {"words.txt": b"a b c"}
    assert [e.class_name for e in second.entries] == [e.class_name for e in first.entries]
    kept, before = second.metrics["search"], first.metrics["search"]
    assert kept["score_before"] == before["score_before"]
    assert not {"score_after", "drop"} & kept.keys()
    assert kept["retargeted"]["factor"] > 0
    assert set(map(tuple, kept["frontier"])) <= set(map(tuple, before["frontier"]))


def test_it_can_be_done_again_and_from_any_source(net, found, tmp_path):
    found.save(tmp_path / "found.safetensors")
    torch.save(net.state_dict(), tmp_path / "net.ckpt")
    budget = round(found.nbytes * 0.9)
    made = retarget(net, found, budget)
    for source in (
        tmp_path / "net.ckpt",
        {n: t for n, t in state_of(net).items() if not n.startswith(("teacher", "mask"))},
    ):
        assert retarget(source, tmp_path / "found.safetensors", budget).streams == made.streams
    again = retarget(net, made, budget)
    assert again.nbytes <= budget


def test_a_file_with_the_fingerprint_of_an_older_version_is_known_by_it(net, found):
    older = Weights.from_module(net, exclude=found.manifest.excluded).fingerprint_like("")
    assert older != found.manifest.fingerprint
    archive = replace(found, manifest=replace(found.manifest, fingerprint=older))
    assert retarget(net, archive, found.nbytes).streams == retarget(net, found, found.nbytes).streams


def test_scores_are_expected_inside_the_frontier(net, found):
    points = found.manifest.metrics["search"]["frontier"]
    inside, outside = (retarget(net, found, size) for size in (found.nbytes, points[-1][1] + 1500))
    assert points[0][2] <= inside.manifest.metrics["search"]["retargeted"]["expected_score"] <= points[-1][2]
    assert outside.nbytes > points[-1][1] + 200
    assert "expected_score" not in outside.manifest.metrics["search"]["retargeted"]


def test_what_it_refuses(net, found, tmp_path):
    with pytest.raises(SearchError, match="no file of 500 bytes can be made: the smallest has"):
        retarget(net, found, 500)
    with pytest.raises(SearchError, match=r"max_bytes is 1000\.5, expected a whole number of bytes"):
        retarget(net, found, 1000.5)
    with pytest.raises(SearchError, match="these are not the weights that the file was made from"):
        retarget({n: t + 1 for n, t in net.state_dict().items()}, found, 10_000)
    with pytest.raises(SearchError, match="holds no frontier of a search"):
        retarget(net, compress(net, "half"), 10_000)
    plain = compress(net, "half").with_metrics({"search": {"frontier": []}})
    with pytest.raises(SearchError, match="no step to make coarser"):
        retarget(net, plain, 10_000)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FormatError):
        retarget(net, tmp_path / "text", 10_000)


def test_a_plan_is_scaled_where_it_has_steps():
    plan = Plan.resolve("paper-rnn")
    assert scaled_plan(plan, 1.0) == plan
    assert scaled_plan(scaled_plan(plan, 4.0), 0.25) == plan
    assert scaled_plan(plan, 2.0) != plan
    exact = Plan(Rule("*.bias", Raw(), optional=True), Rule("*", Prune(0.1), Half(), by="class"))
    assert scaled_plan(exact, 8.0) == exact


def test_archives_are_the_same_each_time(net, found):
    first, second = (retarget(net, found, found.nbytes) for _ in range(2))
    assert isinstance(first, Archive)
    assert first.streams == second.streams
    assert first.manifest == second.manifest
