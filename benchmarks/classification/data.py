"""Data that needs no download: pictures of digits, and sentences from the documentation of installed libraries."""

from __future__ import annotations

import ast
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

LIBRARIES = ("matplotlib", "networkx", "numpy", "scipy", "sklearn", "sympy", "torch")
NAMES = frozenset({*LIBRARIES, "pytorch", "scikit", "pyplot", "np", "plt", "mpl", "nx"})  # would give the answer away
SHORTEST, LONGEST = 6, 16  # words
PAD, UNKNOWN = 0, 1


@dataclass(frozen=True)
class Split:
    """Inputs and labels: to train on, to choose a file by, and to measure it on."""

    train: TensorDataset
    valid: TensorDataset
    test: TensorDataset


def digits() -> Split:
    """The 1,797 handwritten digits of scikit-learn, ``[n, 1, 8, 8]`` from 0 to 1: 40 % train, 20 % valid, 40 % test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(found.target)))
    images = torch.from_numpy(found.images / 16).float()[order, None]
    labels = torch.from_numpy(found.target)[order]
    cuts = 0, int(0.4 * len(order)), int(0.6 * len(order)), len(order)
    return Split(*(TensorDataset(images[a:b], labels[a:b]) for a, b in pairwise(cuts)))


def library_sentences(*, words: int, per_library: int) -> Split:
    """Sentences of docstrings as word ids ``[n, LONGEST]``, and the library of each.

    Files are split, not sentences: 70 % train, 15 % valid, 15 % test. Sentences that occur twice or name a library are
    left out.

    Args:
        words: size of the vocabulary, ``PAD`` and ``UNKNOWN`` included.
        per_library: training sentences of each library at most; of the other parts a fifth.
    """
    parts: tuple[list[tuple[list[str], int]], ...] = ([], [], [])
    for label, library in enumerate(LIBRARIES):
        counts, seen = [0, 0, 0], set()
        for path, sentence in _sentences(library):
            place = zlib.crc32(path.encode()) % 20
            part = 0 if place < 14 else 1 if place < 17 else 2
            limit = per_library if part == 0 else per_library // 5
            if " ".join(sentence) not in seen and counts[part] < limit:
                seen.add(" ".join(sentence))
                counts[part] += 1
                parts[part].append((sentence, label))
    frequent = Counter(word for sentence, _ in parts[0] for word in sentence).most_common(words - 2)
    ids = {word: number for number, (word, _) in enumerate(frequent, 2)}
    return Split(*(_encoded(part, ids) for part in parts))


def _encoded(part: list[tuple[list[str], int]], ids: dict[str, int]) -> TensorDataset:
    table = torch.full((len(part), LONGEST), PAD)
    for row, (sentence, _) in zip(table, part, strict=True):
        row[: len(sentence)] = Tensor([ids.get(word, UNKNOWN) for word in sentence]).long()
    return TensorDataset(table, torch.tensor([label for _, label in part]))


def _sentences(library: str) -> Iterator[tuple[str, list[str]]]:
    """Path of the file, and lower-case words of each sentence in its docstrings; files in a fixed, mixed order."""
    spec = find_spec(library)
    assert spec is not None, f"{library} is not installed"
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    files = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.py") if "tests" not in path.parts]
    for name, path in sorted(files, key=lambda each: zlib.crc32(each[0].encode())):
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except SyntaxError:  # a template, not a module
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for text in re.split(r"(?<=[.!?])\s|\n\s*\n", ast.get_docstring(node) or ""):
                    sentence = re.findall(r"[a-z]+", text.lower())
                    if SHORTEST <= len(sentence) <= LONGEST and not NAMES.intersection(sentence):
                        yield name, sentence
