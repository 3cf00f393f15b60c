"""Files of every quantizer, read by the package and by the reference reader."""

from __future__ import annotations

from pathlib import Path

import golden_models
import pytest
import torch
from golden_models import weights
from reference import reader as reference_reader

from lightning_compress import (
    Binary,
    GroupWise,
    Half,
    KMeans,
    Logarithmic,
    LowRank,
    Plan,
    Prune,
    Raw,
    Rule,
    Ternary,
    compress,
)
from lightning_compress.archive import Archive
from lightning_compress.weights import as_bytes

METHODS = {
    "codebook": (KMeans(9, outliers=0.05), Half()),
    "codebook of 2-byte indices": (KMeans(400),),
    "a scale a row": (Logarithmic(4, "row", 0.02), Raw()),
    "a scale a group": (GroupWise(4, 7, 16, 0.1), Half()),
    "scales of one byte": (GroupWise(3, 9),),
    "one scale": (Binary("tensor"),),
    "zeros in a codebook": (Prune(0.2), Ternary(), Half()),
    "zeros apart": (Prune(0.9), Half()),
    "factors": (LowRank(4), KMeans(30, "model"), Half()),
    "factors in half precision": (LowRank(energy=0.6), Half("float16", "nearest")),
}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("methods", METHODS.values(), ids=METHODS)
def test_the_package_and_the_reference_reader_agree(
    methods: tuple[object, ...], dtype: torch.dtype, tmp_path: Path
) -> None:
    special = golden_models._special(dtype)
    state = {
        "matrix": weights((30, 41), 7, dtype),
        "deep": weights((6, 5, 4), 8, dtype),
        "special": special,
        "rows": weights((200, 64), 9, dtype) * (torch.arange(200) % 8 < 3)[:, None],
        "scattered": weights((40, 50), 10, dtype) * (torch.arange(2000).reshape(40, 50) % 31 == 3),
        "steps": torch.tensor([0] * 900 + [7, -1]),
    }
    compress(state, Plan(Rule("*", *methods))).save(tmp_path / "file.safetensors")  # type: ignore[arg-type]
    archive, reference = (
        Archive.open(tmp_path / "file.safetensors"),
        reference_reader.read(tmp_path / "file.safetensors"),
    )
    restored = {
        name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), as_bytes(tensor).numpy().tobytes())
        for name, tensor in archive.restore().items()
    }
    assert restored == reference.tensors


def test_the_files_have_every_kind_and_both_forms_of_positions() -> None:
    kinds, forms = set(), set()
    for methods in METHODS.values():
        rows = weights((400, 500), 9) * (torch.arange(400) % 8 < 3)[:, None]
        scattered = weights((400, 50), 10) * (torch.arange(20000).reshape(400, 50) % 31 == 3)
        archive = compress({"a": rows, "b": scattered}, Plan(Rule("*", *methods)))  # type: ignore[arg-type]
        for entry in archive.manifest.entries:
            kinds.add(entry.kind)
            forms.add(entry.payload.get("positions"))
    assert kinds >= {"codebook", "sparse", "factored"}
    assert forms >= {"gaps", "bitmap"}
