"""Everything that is fuzzed, by name."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.reliability.fuzz.outcome import Target
from benchmarks.reliability.fuzz.targets import checkpoints, files, tensors, texts

TARGETS: Mapping[str, Target] = {
    t.name: t for t in (*tensors.TARGETS, *files.TARGETS, *texts.TARGETS, *checkpoints.TARGETS)
}
