"""The trained weights as they are, in a plain safetensors file: the baseline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.rate_distortion.methods.method import Candidate, Method
from benchmarks.rate_distortion.source import Source


def candidates(source: Source) -> Iterable[Candidate]:
    """One: the file that ``safetensors`` writes."""
    yield Candidate("safetensors", lambda path: save_file(source.state, path), load_file)


METHOD = Method("fp32", candidates, (Path(__file__),))
