"""The models of the golden files, from integer arithmetic, so that they depend on no random number generator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_compress import (
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    LowRank,
    Plan,
    Prune,
    Raw,
    Rule,
    Weights,
    compress,
)
from lightning_compress.archive import Archive
from lightning_compress.quantize import GridGuide
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.weights import Tie, Weight
from lightning_compress.weights.classes.translation import translation_classes

FOLDER = Path(__file__).parent / "golden"
LAYOUT = (40, 32)


def hashed(count: int, seed: int) -> np.ndarray:
    """``[count]`` numbers of 32 bits, well mixed, by multiplication and shifts."""
    bits = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761 + 2 * seed) % (1 << 32)
    for shift, factor in ((15, 2246822519), (13, 3266489917), (16, 668265263)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor) % (1 << 32)
    return bits ^ (bits >> np.uint64(16))


def bell(count: int, seed: int) -> np.ndarray:
    """``[count]`` numbers that look normal, σ ≈ 0.04: sums of twelve uniform ones, exact in float32."""
    parts = hashed(12 * count, seed).reshape(12, count) >> np.uint64(16)
    return (parts.sum(axis=0).astype(np.int64) - 6 * 65535).astype(np.float64) / (1 << 21) * 1.25


def weights(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(bell(int(np.prod(shape)), seed).reshape(shape)).to(dtype)


def _special(dtype: torch.dtype) -> Tensor:
    """Weights that include NaN with a payload, infinities, −0, a subnormal, the largest and the smallest number."""
    tensor = weights((40,), 9, dtype)
    info = torch.finfo(dtype)
    values = [float("inf"), float("-inf"), -0.0, info.smallest_normal / 2, info.max / 8, info.smallest_normal]
    tensor[3:9] = torch.tensor(values, dtype=torch.float64).to(dtype)
    words = tensor.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize])
    words[20] = words[3] | 5
    words[21] = words[4] | 7
    return tensor


def _without_layers(state: dict[str, Tensor]) -> Weights:
    """The weights in the classes of the golden files, where layers without a name of their own are ``other``."""
    classes = translation_classes({name: name for name in state}, None)
    others = [name for name, value in classes.items() if value == "other"]
    return Weights.from_state_dict(state, classes={"other": others})


def payloads() -> Archive:
    """Every kind of payload, in every dtype it supports."""
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    state = {"matrix": weights(LAYOUT, 1), "plain": weights((7, 9), 2), "counter": torch.tensor(12345)}
    for group in ("paper", "half"):
        state |= {f"{group}.{str(dtype).removeprefix('torch.')}": _special(dtype) for dtype in floats}
    for group in ("nearest", "float16", "pruned", "eight", "left"):
        state[group] = _special(torch.float32)
    state["eight.matrix"] = weights(LAYOUT, 3)
    state["wide.matrix"] = weights((30, 20), 4)
    state["pruned.matrix"] = weights(LAYOUT, 5)
    plan = Plan(
        Rule("matrix", Prune(0.15, "class-uniform"), Interval(6, 0.98), Half()),
        Rule("paper*", Prune(0.15), Interval(4, 0.9, scope="tensor"), Half()),
        Rule("half*", Half()),
        Rule("nearest*", Half(rounding="nearest")),
        Rule("float16*", Half("float16", "nearest")),
        Rule("pruned*", Prune(0.4), Raw()),
        Rule("eight*", Interval(8, 0.95, "right", "tensor"), Half("float16", "nearest")),
        Rule("left*", Interval(3, 0.8, "left", "class"), Raw()),
        Rule("wide*", Interval(16, 1.0, scope="tensor")),
    )
    return compress(_without_layers(state), plan)


def dtypes() -> Archive:
    """Every dtype of the oldest supported torch, with no element, one element and many."""
    names = "uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64"
    names += " complex32 complex64 complex128 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz"
    content = torch.from_numpy((hashed(96, 11) >> np.uint64(3)).astype(np.uint8))
    state = {name: content.view(getattr(torch, name)) for name in names.split()}
    state |= {f"{name}.scalar": content[40:56].clone().view(tensor.dtype)[0] for name, tensor in state.items()}
    state["bool"] = content % 3 == 0
    state["empty"] = torch.empty(0, 5)
    state["empty half"] = torch.empty(3, 0, 2, dtype=torch.float64)
    return compress(_without_layers(state), Plan(Rule("empty half", Half()), Rule("*", Raw(), optional=True)))


def coders() -> Archive:
    """Streams for every coder, with large and small alphabets, tables plain and packed."""
    random = hashed(4096, 21).astype(np.int64)
    rare = (hashed(6000, 22) % np.uint64(97) == 0).astype(np.int64)
    spread = np.minimum(4096 // (1 + hashed(5000, 23) % np.uint64(4096)).astype(np.int64), 700) * 7
    state = {
        "stored": torch.from_numpy(random[:200] % 256).to(torch.uint8),
        "packed": torch.from_numpy(random[:500] % 16).to(torch.uint8),
        "packed.wide": torch.from_numpy(random[:300] % 1000).to(torch.int32),
        "zstd": torch.from_numpy(np.tile(random[:90], 20)),
        "huffman": torch.from_numpy((bell(900, 24) * 300).astype(np.int64) + 70).to(torch.uint8),
        "planes": weights((25, 24), 25),
        "ans": torch.from_numpy((bell(3000, 26) * 100).astype(np.int64) + 30).to(torch.uint8),
        "ans.two": torch.from_numpy(rare).to(torch.uint8),
        "ans.far": torch.from_numpy(rare * 300).to(torch.int16),
        "ans.large": torch.from_numpy(spread).to(torch.int32),
        "contexts": torch.from_numpy((bell(700, 28) * 250).astype(np.int64) + 80).to(torch.uint8),
        "planes.short": weights((9, 30), 29).bfloat16().float(),
        "#large": torch.from_numpy((hashed(65_536, 31) >> np.uint64(7)).astype(np.uint8)),
        "ans.smooth": torch.from_numpy((bell(8000, 27) * 700).astype(np.int64) + 200).to(torch.int16),
    }
    return compress(_without_layers(state), Plan(Rule("*", Raw())))


def lanes() -> Archive:
    """Streams for every form of the coder ``lanes``: with a table or adaptive, limited, of wide words, of two lanes."""
    rare = (hashed(280_000, 61) % np.uint64(97) == 0).astype(np.uint8)
    by_row = 3.0 ** (torch.arange(300) % 5 - 2)[:, None]
    state = {
        "table": torch.from_numpy(rare),
        "adaptive": torch.from_numpy((bell(900, 62) * 300).astype(np.int64) + 70).to(torch.uint8),
        "two lanes": torch.from_numpy((bell(40_000, 63) * 250).astype(np.int64) + 60).to(torch.uint8),
        "limited": weights((300, 200), 64) * by_row,
        "wide": weights((70, 60), 65).bfloat16(),
        "wide.float32": weights((40, 60), 66),
    }
    return compress(_without_layers(state), Plan(Rule("limited", Grid(0.06, trellis=0)), Rule("*", Raw())))


def ties() -> Archive:
    """Tied tensors, assets, all kinds of names, and every manifest key about a model."""
    embedding = weights((20, 16), 31)
    names = ("a#values", "#", "", "größe.权重", 'with "quotes" and \\ and \n', "x" * 200)
    stored = Weights(
        weights=(
            Weight("embedding.weight", embedding, "target_embedding"),
            *(Weight(name, weights((5,), 32), "other") for name in names),
            Weight("schedule", weights((9,), 33).cumsum(0), "other", "buffer"),
            Weight("inv_freq", weights((9,), 34), "other", "known constant: inv_freq"),
            Weight("seen", torch.tensor(3), "other", "buffer"),
        ),
        ties={
            "softmax.weight": Tie("embedding.weight", 0, (20, 16), (16, 1)),
            "transposed": Tie("embedding.weight", 0, (16, 20), (1, 16)),
            "rows": Tie("embedding.weight", 32, (3, 16), (16, 1)),
            "every other": Tie("embedding.weight", 1, (20, 8), (16, 2)),
            "one": Tie("embedding.weight", 319, (), ()),
            "repeated": Tie("embedding.weight", 5, (4, 3), (0, 1)),
        },
        excluded=("loss.weight", "metric.total"),
        class_path="models.Translator",
        hyper_parameters={"hidden": 16, "dropout": 0.1, "names": ["a", "ß"], "nested": {"deep": None, "yes": True}}
        | {"betas": (0.9, 0.98), "limit": float("inf"), "levels": {3: "c", "a": 1}, "seed": np.int64(7)}
        | {"order": OrderedDict(b=1, a=2), "size": torch.Size([2, 3]), "width": np.float32(0.1), "empty": {}},
        hyper_parameters_left_out=("tokenizer",),
        hparams_name="cfg",
        checkpoint={"global_step": 1200, "epoch": 3, "labels": ["b", "a"]},
        checkpoint_left_out=("sampler",),
        assets={"source.txt": b"the\nof\nund\n" * 40, "empty": b"", "ünïcode/../name": bytes(range(256))},
    )
    return compress(stored, "half").with_metrics({"bleu": {"before": 33.25, "after": 33.0}, "seconds": 1e-07})


def methods() -> Archive:
    """Every payload that version 2 has and version 1 does not have."""
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    drift = weights((24,), 41) * 2
    state = {f"plain.{str(dtype).removeprefix('torch.')}": weights((9, 7), 42, dtype) for dtype in floats}
    state |= {f"trellis.{states}": weights((24, 30), states) for states in TRELLISES}
    state |= {
        "plain.vector": weights((50,), 43),
        "classes": weights((120, 90), 44)
        * 4.0 ** (torch.arange(120) % 4 - 2)[:, None]
        * 4.0 ** (torch.arange(90) % 3 - 1),
        "offsets": weights((90, 24), 45) + drift,
        "offsets.plain": weights((90, 24), 46) + drift,
        "guided": weights((90, 24), 47) + drift,
        "codebook": weights(LAYOUT, 48),
        "scales": weights(LAYOUT, 49),
        "factors": weights(LAYOUT, 50),
        "gaps": weights((40, 50), 51).where(torch.from_numpy(hashed(2000, 54) % 5 < 2).reshape(40, 50), 0),
        "bitmap": weights((200, 64), 52).where((torch.arange(200) % 8 < 3)[:, None], 0),
    }
    plan = Plan(
        Rule("plain*", Grid(0.03, trellis=0)),
        *(Rule(f"trellis.{states}", Grid(0.03, trellis=states)) for states in TRELLISES),
        Rule("offsets.plain", Grid(0.03, trellis=0)),
        Rule("codebook", KMeans(9, outliers=0.05), Half()),
        Rule("scales", GroupWise(4, 8, 16, 0.1), Half()),
        Rule("factors", LowRank(4), KMeans(9, "model"), Half()),
        Rule("gaps", Half()),
        Rule("bitmap", Half()),
        Rule("*", Grid(0.03)),
    )
    guide = GridGuide(torch.from_numpy(hashed(90, 53).astype(np.int64) % 90 - 70).to(torch.int32))
    return compress(state, plan, guidance={"guided": guide})


# Each model with the number of its newest file. A change of the writer's bytes adds a file; none is ever replaced.
MODELS: dict[str, tuple[Callable[[], Archive], int]] = {
    "payloads": (payloads, 9),
    "dtypes": (dtypes, 5),
    "coders": (coders, 5),
    "ties": (ties, 7),
    "methods": (methods, 5),
    "lanes": (lanes, 4),
}
_FIRST = {"methods": 2, "lanes": 3}  # where there are no files of older versions
FILES = [
    f"{name}.{revision}.safetensors"
    for name, (_, newest) in MODELS.items()
    for revision in range(_FIRST.get(name, 1), newest + 1)
]
