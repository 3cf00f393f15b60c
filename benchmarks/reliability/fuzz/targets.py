"""All targets, by name."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.reliability.fuzz import checkpoints, files, tensors, texts
from benchmarks.reliability.fuzz.outcome import Target

TARGETS: Mapping[str, Target] = {
    t.name: t for t in (*tensors.TARGETS, *files.TARGETS, *texts.TARGETS, *checkpoints.TARGETS)
}
