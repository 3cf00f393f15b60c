"""One search as users run it: sizes are predicted by compressing samples, and files are coded by every coder."""

from __future__ import annotations

import pytest
from small_network import Net, expect_same, state_of
from small_search import Agreement

from lightning_compress import Archive, Plan, Score, Weights, smallest
from lightning_compress.coding import CODERS
from lightning_compress.search.families import family
from lightning_compress.search.families.byte_prediction import predicted_bytes


@pytest.fixture(autouse=True, scope="module")
def quickly_coded():
    """Here files are coded by every coder."""


def test_the_file_is_feasible_and_as_small_as_predicted(tmp_path, monkeypatch):
    predicted, coded = [], set()

    def recorded(weights, plan, guidance):
        predicted.append(plan)
        return predicted_bytes(weights, plan, guidance)

    for coder in CODERS.values():
        usual = type(coder).encode
        encode = lambda self, words, usual=usual: (coded.add(self.id), usual(self, words))[1]  # noqa: E731
        monkeypatch.setattr(type(coder), "encode", encode)
    monkeypatch.setattr(family, "predicted_bytes", recorded)
    net = Net(96)
    evaluate, before = Agreement(net, statistics=True), state_of(net)
    archive = smallest(net, evaluate, 5.0, effort="quick", progress=False)
    expect_same(net, before)
    assert {"lanes", "huffman", "zstd"} <= coded
    assert len(predicted) > 3
    found, plan = archive.manifest.metrics["search"], Plan.from_config(archive.manifest.plan)
    assert found["drop"] <= 5.0
    assert sum(predicted_bytes(Weights.from_module(net), plan, {}).values()) == pytest.approx(archive.nbytes, rel=0.15)
    archive.save(tmp_path / "small.safetensors")
    net.load_state_dict({**net.state_dict(), **Archive.open(tmp_path / "small.safetensors").restore()})
    assert Score.from_value(evaluate(net.eval())).value == pytest.approx(found["score_after"])
