"""The whole file: valid safetensors, deterministic bytes, and a manifest that is read back unchanged."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import torch
import zstandard
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lightning_compress import Half, Plan, Raw, Rule, Weights, compress, load
from lightning_compress.archive import Archive, is_archive
from lightning_compress.archive.manifest.envelope import from_envelope, to_envelope
from lightning_compress.errors import ForeignFileError, FormatError
from lightning_compress.weights import Weight


class Translator(nn.Module):
    """Two tied layers, a vocabulary, and a part that decoding does not need."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.embedding = nn.Embedding(30, 8)
        self.softmax = nn.Linear(8, 30)
        self.helper = nn.Linear(2, 2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.softmax.weight = self.embedding.weight
        self.hparams = {"size": 8, "words": ["a", "ß"]}

    def compression_exclude(self) -> list[str]:
        return ["helper.*"]

    def compression_assets(self) -> dict[str, bytes]:
        return {"vocabulary/source.txt": b"the\nof\n" * 50, "empty": b"", "binary": bytes(range(256))}


@pytest.fixture
def archive() -> Archive:
    return compress(Translator(), "half")


def _large_and_small() -> Archive:
    """Large and small parts, sizes on both sides of the threshold, and reserved names."""
    noise = torch.randint(0, 256, (4, 1 << 16), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    stored = Weights(
        weights=(
            Weight("large.weight", noise[0], "other"),
            Weight("#small", noise[1], "other"),
            Weight("just.small", noise[2][1:], "other"),
            Weight("__metadata__", noise[3], "other"),
            Weight("bias", noise[0][:7], "other"),
        ),
        ties={},
        excluded=(),
        assets={"noise": noise[1].numpy().tobytes(), "words": b"one two"},
    )
    return compress(stored, Plan(Rule("*", Raw())))


def test_the_safetensors_library_reads_the_file(tmp_path: Path) -> None:
    archive = _large_and_small()
    path = tmp_path / "model.safetensors"
    archive.save(path)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {
            "just.small",
            "large.weight",
            "###small",
            "##__metadata__",
            "#asset#noise",
            "#small",
        }
        assert list(file.metadata()) == ["lightning_compress"]
        envelope = json.loads(file.metadata()["lightning_compress"])
        for key in ("large.weight", "###small", "##__metadata__", "#asset#noise"):
            part = file.get_tensor(key)
            assert part.dtype == torch.uint8
            assert part.numel() == max(part.shape)
            assert bytes(part.numpy()) == bytes(archive.streams[key])
        small = [archive.streams[key] for key, nbytes in archive.manifest.parts() if nbytes < 1 << 16]
        assert bytes(file.get_tensor("#small").numpy()) == b"".join(map(bytes, small))
    assert set(envelope) == {"manifest", "sha256"}


def test_the_layout_is_that_of_the_specification(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    archive.save(path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    assert data[8:].startswith(b'{"__metadata__":{"lightning_compress":"')
    text = data[8 : 8 + length].decode()
    header = json.loads(text)
    assert text.rstrip(" ") == json.dumps(header, separators=(",", ":"), ensure_ascii=False)
    envelope = header.pop("__metadata__")["lightning_compress"]
    value = envelope.removeprefix('{"manifest":').removesuffix('"}').split(',"sha256":"')[0]
    plain = zstandard.ZstdDecompressor().decompress(base64.b85decode(json.loads(value)["zstd"])).decode()
    assert plain == json.dumps(json.loads(plain), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert {"ties", "excluded", "plan", "assets"} <= set(json.loads(plain))
    assert "metrics" not in json.loads(plain)
    assert json.loads(envelope)["sha256"] == hashlib.sha256(value.encode()).hexdigest()
    assert envelope == json.dumps(json.loads(envelope), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert [stream["data_offsets"][1] for stream in header.values()][-1] == len(data) - 8 - length


def test_equal_input_gives_equal_bytes(archive: Archive, tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "three"))
    archive.save(one)
    compress(Translator(), "half").save(two)
    Archive.open(one).save(three)
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()


def test_the_manifest_is_read_back(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    archive.with_metrics({"bleu": {"before": 33.5, "after": 33.25}}).save(path)
    again = Archive.open(path)
    manifest = again.manifest
    assert to_envelope(replace(manifest, metrics={})) == to_envelope(archive.manifest)
    assert manifest.metrics == {"bleu": {"before": 33.5, "after": 33.25}}
    assert manifest.hyper_parameters == {"size": 8, "words": ["a", "ß"]}
    assert manifest.excluded == ("helper.weight", "helper.bias")
    assert manifest.class_path == f"{Translator.__module__}.Translator"
    assert set(manifest.ties) == {"softmax.weight"}
    assert manifest.fingerprint == Weights.of(Translator()).fingerprint
    assert Plan.from_config(manifest.plan) == Plan.resolve("half")
    assert again.assets() == Translator().compression_assets()
    assert again.nbytes == path.stat().st_size
    restored = again.restore()
    assert restored["softmax.weight"].data_ptr() == restored["embedding.weight"].data_ptr()


def test_a_manifest_survives_the_round_trip_through_its_envelope(archive: Archive) -> None:
    assert from_envelope(to_envelope(archive.manifest)) == replace(
        archive.manifest, plan=json.loads(json.dumps(archive.manifest.plan))
    )


@pytest.mark.parametrize(
    "metrics",
    [
        {"bleu": math.nan},
        {"bleu": math.inf},
        {"bleu": torch.tensor(3.0)},
        {"name": "half a pair \ud800"},
        {1: 2.0, "one": 2.0},
    ],
)
def test_metrics_that_json_cannot_hold_are_refused_when_they_are_given(archive: Archive, metrics: dict) -> None:
    with pytest.raises(FormatError, match="cannot hold this value"):
        archive.with_metrics(metrics)


def test_recursive_metrics_are_refused(archive: Archive) -> None:
    metrics: dict = {}
    metrics["self"] = metrics
    with pytest.raises(FormatError, match="cannot hold this value"):
        archive.with_metrics(metrics)


def test_an_empty_archive_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "nothing.safetensors"
    archive = compress({}, "half")
    assert archive.save(path) == path.stat().st_size
    assert load(path) == {}
    assert archive.report().ratio == 0
    with safe_open(path, "pt") as file:
        assert list(file.keys()) == ["#lock"]


def test_unusual_names_are_read_back(tmp_path: Path) -> None:
    names = [
        "a",
        "a#values",
        "#",
        "#a#bytes",
        "",
        " ",
        "ä.权重",
        'quo"te',
        "back\\slash",
        "new\nline",
        "\x00",
        "\x7f",
        "\u2028",
    ]
    names += ["__metadata__", "😀", "x" * 5000, ".".join("abc" * 50)]
    state = {name: torch.full((3,), float(number)) for number, name in enumerate(names)}
    path = tmp_path / "names.safetensors"
    compress(state, "half").save(path)
    restored = load(path)
    assert list(restored) == names
    for name, tensor in state.items():
        assert torch.equal(restored[name], tensor)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"a", "#small"}


def test_is_archive_recognizes_only_files_of_this_package(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    archive.save(path)
    assert is_archive(path)
    assert is_archive(str(path))
    assert not is_archive(tmp_path / "missing.safetensors")
    assert not is_archive(tmp_path)
    for name, content in {"empty": b"", "short": path.read_bytes()[:20], "text": b"hello, world" * 20}.items():
        (tmp_path / name).write_bytes(content)
        assert not is_archive(tmp_path / name), name
    save_file({"weight": torch.ones(3)}, tmp_path / "plain.safetensors", metadata={"format": "pt"})
    torch.save({"weight": torch.ones(3)}, tmp_path / "model.ckpt")
    for name in ("plain.safetensors", "model.ckpt"):
        assert not is_archive(tmp_path / name)
        with pytest.raises(ForeignFileError, match="lightning-compress wrote"):
            Archive.open(tmp_path / name)


def test_files_on_other_file_systems(archive: Archive) -> None:
    url = "memory://folder/model.safetensors"
    assert archive.save(url) == archive.nbytes
    assert is_archive(url)
    restored = load(url)
    assert restored.keys() == archive.restore().keys()
    fsspec.filesystem("memory").rm("/folder", recursive=True)
    assert not is_archive(url)


def test_a_file_url_is_a_local_file(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    archive.save(f"file://{path}")
    assert Archive.open(f"file://{path}").nbytes == path.stat().st_size
    assert is_archive(f"file://{path}")


def test_the_caller_can_raise_the_limit_of_restored_bytes(tmp_path: Path) -> None:
    path = tmp_path / "zeros.safetensors"
    compress({"weight": torch.zeros(1000, 1000)}, Plan(Rule("*", Half()))).save(path)
    assert path.stat().st_size < 2000
    assert load(path)["weight"].shape == (1000, 1000)
    with pytest.raises(FormatError, match="larger max_bytes"):
        Archive.open(path, max_bytes=3_999_999)
    assert Archive.open(path, max_bytes=4_000_000).manifest.raw_bytes == 4_000_000


def test_the_envelope_is_small() -> None:
    """The manifest takes less than 45 bytes per tensor for a Transformer of a hundred tensors."""
    shapes = {"attention.weight": (16, 48), "attention.bias": (48,), "norm.weight": (16,), "inner.weight": (64, 16)}
    generator = torch.Generator().manual_seed(3)
    state = {
        f"decoder.layers.{layer}.{name}": torch.randn(shape, generator=generator) * 0.05
        for layer in range(25)
        for name, shape in shapes.items()
    }
    sizes = [len(to_envelope(compress(part, "paper-rnn").manifest)) for part in (state, dict([*state.items()][:20]))]
    assert sizes[0] < 45 * 100 + 600
    assert (sizes[0] - sizes[1]) / 80 < 45


def test_a_too_repetitive_manifest_is_refused_before_it_is_written(archive: Archive, tmp_path: Path) -> None:
    dull = replace(archive, manifest=replace(archive.manifest, hyper_parameters={"zeros": [0] * 700_000}))
    with pytest.raises(FormatError, match="repetition"):
        dull.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    large = replace(archive, manifest=replace(archive.manifest, hyper_parameters={"numbers": list(range(9_000))}))
    large.save(tmp_path / "model.safetensors")
    assert Archive.open(tmp_path / "model.safetensors").manifest.hyper_parameters["numbers"][-1] == 8_999
