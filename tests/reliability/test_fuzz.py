"""A few hundred inputs of each target of the fuzzing campaign, and the campaign itself."""

import json
import os
import time
from dataclasses import replace

import pytest
from each_case import naming

from benchmarks.reliability.fuzz.campaign import Campaign, run_in_process
from benchmarks.reliability.fuzz.outcome import Target, same
from benchmarks.reliability.fuzz.targets import TARGETS
from benchmarks.reliability.fuzz.worker import random_of
from lightning_compress.errors import FormatError

INPUTS = {"stream": 1500, "tensor": 250, "file": 80, "plan": 250, "value": 1500, "checkpoint": 150, "safetensors": 150}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the independent reader, about values that overflow
def test_every_input_is_read_as_the_independent_reader_reads_it_or_refused_with_an_error_of_the_package() -> None:
    for name, target in TARGETS.items():
        read = 0
        for number in range(INPUTS[name]):
            with naming(f"{name}/{number}"):
                try:
                    compare = target.run(random_of(name, number))
                except target.refusals:
                    continue
                compare()
                read += 1
        assert 0 < read < INPUTS[name], name  # neither are all changes without effect, nor all inputs nonsense


def _bad(random):
    """Ends in every outcome that a campaign must notice, and in those that it must not."""
    number = random.randrange(6)
    if number == 0:
        raise FormatError("refused")
    if number == 1:
        raise KeyError("foreign")
    if number == 2:
        return same(1, lambda: 2)
    if number == 3:
        os._exit(3)
    if number == 4:
        end = time.process_time() + 1.1
        while time.process_time() < end:
            pass
    return same(1, lambda: 1)


def test_a_campaign_finds_every_kind_of_fault_and_continues_where_it_was_interrupted(tmp_path, capsys) -> None:
    target = Target("bad", 1.0, (FormatError,), _bad)
    kinds = [random_of("bad", number).randrange(6) for number in range(12)]
    assert set(kinds) == set(range(6))
    for inputs in (5, 12):
        campaign = Campaign.load(tmp_path / "state.json")
        campaign.run({"bad": target}, inputs, prepared=False)
    found = {finding["number"]: finding["what"].split(":")[0] for finding in campaign.findings}
    whats = {1: "KeyError", 2: "DisagreementError", 3: "ends the process"}
    expected = {n: whats[kind] for n, kind in enumerate(kinds) if kind in whats}
    slow = {n for n, kind in enumerate(kinds) if kind == 4}
    assert {n: what for n, what in found.items() if n not in slow} == expected
    assert all("s of CPU time" in found[n] for n in slow)
    kept = json.loads((tmp_path / "state.json").read_text())
    assert kept["inputs"] == 12
    assert sum(kept["commits"].values()) == 12
    assert kept["targets"]["bad"]["outcomes"]["FormatError"] == kinds.count(0)
    assert len(kept["findings"]) == len(found)
    assert "findings" in capsys.readouterr().out


def test_memory_beyond_the_stated_limit_is_a_finding() -> None:
    def greedy(random):
        kept = bytearray(200 << 20)
        return same(len(kept), lambda: 200 << 20)

    counts, _ = run_in_process(replace(TARGETS["value"], name="greedy", run=greedy), 0, 1)
    assert [finding["what"].split(":")[0] for finding in counts.findings] == ["MemoryError"]
