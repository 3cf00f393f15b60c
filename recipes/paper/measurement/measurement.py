"""A point of an experiment (plan and evaluation conditions) and its measurement."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from lightning_compress import Plan, Score


@dataclass(frozen=True)
class Conditions:
    """Everything besides the weights that determines a score.

    Attributes:
        model: fingerprint of weights, class, hyper-parameters and vocabularies.
        text: fingerprint of the sentences, their order and their references.
        beam: translations kept in the search.
        signature: sacrebleu's, which names its version and tokenizer.
    """

    model: str
    text: str
    beam: int
    signature: str


@dataclass(frozen=True)
class Point:
    """One point to measure.

    Attributes:
        plan: compression of the weights; None for the exact weights, which are not written to a file.
        conditions: how they are measured.
    """

    plan: Plan | None
    conditions: Conditions

    @property
    def key(self) -> str:
        """Name of the point: equal for equal plans and conditions, independent of the experiment."""
        plan = None if self.plan is None else self.plan.to_config()
        return fingerprint([plan, asdict(self.conditions)])[:32]


@dataclass(frozen=True, eq=False)
class Measurement:
    """Result of measuring a point.

    Attributes:
        score: BLEU, 0 to 100, with the statistics of each sentence.
        raw_bytes: bytes of the tensors before compression.
        bytes: bytes of the file on disk, vocabularies included; ``raw_bytes`` for the exact weights.
        zeros: share of the weights that are 0 in the file, 0 to 1.
        seconds: time of compressing, writing, reading and translating.
    """

    score: Score
    raw_bytes: int
    bytes: int
    zeros: float
    seconds: float

    @property
    def ratio(self) -> float:
        """Bytes before compression over bytes on disk."""
        return self.raw_bytes / self.bytes


def fingerprint(content: object) -> str:
    """SHA-256 of plain data, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
