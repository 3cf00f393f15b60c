"""compress, load and expand: sources agree, rules are followed, and the paper's combination is what the paper says."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from functools import cache

import numpy as np
import pytest
import pytorch_lightning as pl
import safetensors
import safetensors.torch
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from lightning_compress import Half, Interval, Plan, Prune, Raw, Rule, Weights, compress, expand, load
from lightning_compress.errors import ForeignFileError, FormatError, PlanError, WeightsError
from lightning_compress.loading import streamed_files


class Translator(pl.LightningModule):
    """A small encoder and decoder; the softmax is the target embedding."""

    def __init__(self, words: int = 40, size: int = 16, rates=(0.9, 0.98)):
        super().__init__()
        self.save_hyperparameters()
        self.source_embedding = nn.Embedding(words, size)
        self.target_embedding = nn.Embedding(words, size)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(size, 2, 32), 2, enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(size, 2, 32), 1)
        self.softmax = nn.Linear(size, words)
        self.softmax.weight = self.target_embedding.weight
        self.register_buffer("steps", torch.tensor(12))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Translator()


@pytest.fixture(scope="module")
def compressed():
    """The archive of such a model under a preset, compressed once for all tests of this file."""

    @cache
    def archive(preset):
        torch.manual_seed(0)
        return compress(Translator(), preset)

    return archive


def first_layer_and_rest(model):
    """The state without the deeper layers, which are like the first, and without the decoder."""
    return {n: t for n, t in model.state_dict().items() if not n.startswith(("encoder.layers.1", "decoder"))}


def streams(archive):
    return {name: bytes(data) for name, data in archive.streams.items()}


def expect_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor.detach()), name


def the_paper(state, classes, fraction, bits, coverage, *, uniform):
    """Prune, then quantize, then cut what is left to half precision, each step on the whole model (section 3.4)."""
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    values = {name: state[name].double().reshape(-1).numpy().copy() for name in names}
    groups = {}
    for name in names:
        groups.setdefault(classes[name] if uniform else "", []).append(name)
    pruned = {}
    for members in groups.values():
        joined = np.concatenate([values[name] for name in members])
        chosen = np.zeros(len(joined), bool)
        chosen[np.argsort(np.abs(joined), kind="stable")[: int(fraction * len(joined))]] = True
        pruned |= dict(zip(members, np.split(chosen, np.cumsum([len(values[n]) for n in members])[:-1]), strict=True))
    for name in names:
        values[name][pruned[name]] = 0
    sizes = np.sort(np.abs(np.concatenate([values[name] for name in names])))
    half_width = sizes[int(np.ceil(coverage * len(sizes))) - 1]
    step = 2 * half_width / 2**bits or 1.0
    result = dict(state)
    for name in names:
        inside = np.abs(values[name]) <= half_width
        pieces = np.minimum(np.floor((values[name] + half_width) / step), 2**bits - 1)
        middle = (-half_width + (pieces + 0.5) * step).astype(np.float32)
        words = state[name].reshape(-1).numpy().view(np.uint32) & 0xFFFF0000
        restored = np.where(inside, middle, words.view(np.float32))
        restored[pruned[name]] = 0
        result[name] = torch.from_numpy(restored).reshape(state[name].shape)
    return result


@pytest.mark.parametrize(
    ("preset", "fraction", "bits", "uniform"), [("paper-transformer", 0.15, 6, True), ("paper-rnn", 0.4, 4, False)]
)
def test_the_presets_do_what_the_paper_does(model, compressed, preset, fraction, bits, uniform):
    weights = Weights.from_module(model)
    stored = {w.name: w.tensor for w in weights}
    classes = {w.name: w.class_name for w in weights}
    expected = the_paper(stored, classes, fraction, bits, 0.98, uniform=uniform)
    expected["softmax.weight"] = expected["target_embedding.weight"]
    expect_equal(compressed(preset).restore(), expected)


@pytest.mark.parametrize("coverage", [0.1, 0.3, 0.6, 0.98])
@pytest.mark.parametrize("scope", ["model", "class", "tensor"])
def test_an_interval_covers_the_weights_as_pruning_left_them(scope, coverage):
    generator = torch.Generator().manual_seed(0)
    scales = {"encoder.0.a": 0.01, "encoder.0.b": 3.0, "encoder.1.a": 1.0, "softmax.a": 20.0}
    state = {name: torch.randn(301, generator=generator) * scale for name, scale in scales.items()}
    classes = {name: name.rpartition(".")[0] for name in state}
    plan = Plan(Rule("*", Prune(0.4, "class-uniform"), Interval(4, coverage, scope=scope), Half()))
    found = compress(state, plan).restore()
    groups = {"model": [list(state)], "class": [[n for n in state if classes[n] == c] for c in set(classes.values())]}
    expected = {}
    for names in groups.get(scope, []):
        expected |= the_paper({n: state[n] for n in names}, classes, 0.4, 4, coverage, uniform=True)
    if scope == "tensor":  # pruning still ranks whole classes
        for name, pruned in compress(state, Plan(Rule("*", Prune(0.4, "class-uniform")))).restore().items():
            alone = the_paper({name: pruned}, classes, 0, 4, coverage, uniform=True)[name]
            expected[name] = torch.where(pruned == 0, 0, alone)
    expect_equal(found, expected)


def test_half_drops_the_low_16_bits_of_every_weight(model, compressed):
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    expected = {
        n: (t.view(torch.int32) & -65536).view(torch.float32) if t.is_floating_point() else t for n, t in state.items()
    }
    expect_equal(compressed("half").restore(), expected)


def test_what_no_rule_selects_is_kept_exactly(model):
    archive = compress(model, Plan(Rule("*.bias", Half())))
    restored = archive.restore()
    for name, tensor in model.state_dict().items():
        assert torch.equal(restored[name], tensor) or name.endswith("bias")
    kinds = {entry.name: entry.kind for entry in archive.manifest.entries}
    assert {kind for name, kind in kinds.items() if not name.endswith("bias")} == {"raw"}


def test_the_first_matching_rule_wins(model):
    plan = Plan(
        Rule("*norm*", Raw()), Rule("encoder.0", Prune(1), by="class"), Rule("encoder*", Half()), Rule("*", Prune(0))
    )
    restored, state = compress(model, plan).restore(), model.state_dict()
    for name, tensor in state.items():
        if "norm" in name or not name.startswith("encoder"):
            assert torch.equal(restored[name], tensor), name
        elif name.startswith("encoder.layers.0"):
            assert not restored[name].any(), name
        else:
            assert torch.equal(restored[name], Half().store(tensor).restore()), name


def test_every_source_gives_the_same_file(model, compressed, tmp_path):
    ckpt, bare = tmp_path / "m.ckpt", tmp_path / "m.pt"
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, ckpt)
    torch.save(model.state_dict(), bare)
    of_module = compressed("paper-transformer")
    for source in (Weights.from_module(model), model.state_dict(), ckpt, str(ckpt), bare):
        archive = compress(source, "paper-transformer")
        assert streams(archive) == streams(of_module)
        assert archive.manifest.entries == of_module.manifest.entries
        assert archive.manifest.ties == of_module.manifest.ties
        assert archive.manifest.fingerprint == of_module.manifest.fingerprint
    assert compress(ckpt, "half").manifest.hyper_parameters == {"words": 40, "size": 16, "rates": (0.9, 0.98)}
    assert of_module.manifest.class_path == f"{__name__}.Translator"


def test_the_same_input_gives_the_same_bytes(model, compressed, tmp_path):
    compressed("paper-transformer").save(tmp_path / "a.safetensors")
    compress(model, "paper-transformer").save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_one_core_is_used_and_the_setting_restored(model):
    def threads():
        libraries = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        return torch.get_num_threads(), *libraries

    usual, during = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2, user_api="blas"):
            before = threads()
            compress(model, "half", on_tensor=lambda weight: during.append(threads()))
            assert threads() == before
    finally:
        torch.set_num_threads(usual)
    assert set(before) == {2}
    assert set().union(*during) == {1}


def test_compressing_leaves_the_source_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    compress(model, "paper-rnn")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("preset", ["half", "paper-transformer", "paper-rnn"])
def test_other_float_types_are_treated_by_value(model, dtype, preset):
    state = {n: t.to(dtype) if t.is_floating_point() else t for n, t in first_layer_and_rest(model).items()}
    archive = compress(state, preset)
    single = compress({n: t.float() if t.is_floating_point() else t for n, t in state.items()}, preset).restore()
    for name, restored in archive.restore().items():
        assert restored.dtype == state[name].dtype
        if dtype is torch.float64:
            assert torch.equal(restored.to(single[name].dtype), single[name])
        else:  # outliers stay exact in a type that is 16 bits wide already
            torch.testing.assert_close(restored.to(single[name].dtype), single[name], rtol=2**-7, atol=0)
    if preset == "half" and dtype.itemsize == 2:
        expect_equal(archive.restore(), state)
    assert sum(row.bytes for row in archive.report().rows) < archive.report().raw_bytes


def test_progress_is_reported_for_every_stored_tensor(model):
    seen = []
    archive = compress(model, "half", on_tensor=seen.append)
    assert [weight.name for weight in seen] == [entry.name for entry in archive.manifest.entries]


def test_a_plan_may_be_a_file(model, compressed, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("rules: [{tensors: '*', methods: [half]}]")
    archive = compress(model, path)
    assert archive.manifest.plan == Plan(Rule("*", Half())).to_config()
    assert streams(archive) == streams(compressed("half"))


def test_a_wrong_plan_and_a_wrong_source(model, compressed, tmp_path):
    with pytest.raises(PlanError, match="no preset and no file is called 'hlaf'"):
        compress(model, "hlaf")
    with pytest.raises(PlanError, match="selects none of the model's"):
        compress(model, Plan(Rule("nothing*", Half())))
    with pytest.raises(WeightsError, match="No such file"):
        compress(tmp_path / "missing.ckpt", "half")
    compressed("half").save(tmp_path / "m.safetensors")
    with pytest.raises(WeightsError, match=r"is a compressed file already.* expand it first"):
        compress(tmp_path / "m.safetensors", "half")


def test_load_gives_every_name_and_ties_share_memory(model, tmp_path):
    compress(model, Plan(Rule("*", Raw()))).save(tmp_path / "m.safetensors")
    state = load(tmp_path / "m.safetensors")
    expect_equal(state, model.state_dict())
    assert state["softmax.weight"].data_ptr() == state["target_embedding.weight"].data_ptr()
    state["softmax.weight"][0, 0] = 5
    assert state["target_embedding.weight"][0, 0] == 5


def test_nothing_to_store(tmp_path):
    compress({}, "paper-transformer").save(tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors") == {}


def test_expand_to_a_lightning_checkpoint(compressed, tmp_path):
    compressed("half").save(tmp_path / "m.safetensors")
    seen = []
    expand(tmp_path / "m.safetensors", tmp_path / "m.ckpt", on_tensor=seen.append)
    content = torch.load(tmp_path / "m.ckpt", weights_only=True)
    expected = load(tmp_path / "m.safetensors")
    expect_equal(content["state_dict"], expected)
    assert content["hyper_parameters"] == {"words": 40, "size": 16, "rates": (0.9, 0.98)}
    assert len(seen) == len(expected) - 1
    again = Translator.load_from_checkpoint(tmp_path / "m.ckpt", map_location="cpu")
    expect_equal(again.state_dict(), expected)
    assert again.softmax.weight is again.target_embedding.weight
    assert Weights.from_checkpoint(tmp_path / "m.ckpt").ties.keys() == {"softmax.weight"}
    assert {path.name for path in tmp_path.iterdir()} == {"m.safetensors", "m.ckpt"}


def test_expand_to_plain_safetensors(compressed, tmp_path):
    compressed("paper-transformer").save(tmp_path / "m.safetensors")
    expand(tmp_path / "m.safetensors", tmp_path / "plain.safetensors")
    expect_equal(safetensors.torch.load_file(tmp_path / "plain.safetensors"), load(tmp_path / "m.safetensors"))
    with safetensors.safe_open(tmp_path / "plain.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_expand_refuses_what_it_cannot_do(compressed, tmp_path):
    source = tmp_path / "m.safetensors"
    compressed("half").save(source)
    whole = source.read_bytes()
    with pytest.raises(ForeignFileError, match="exists and is not replaced: remove it, or write elsewhere"):
        expand(source, source)
    assert source.read_bytes() == whole
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist: create it"):
        expand(source, tmp_path / "nowhere" / "m.ckpt")
    with pytest.raises(FileNotFoundError):
        expand(tmp_path / "missing.safetensors", tmp_path / "out.ckpt")
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    with pytest.raises(FormatError):
        expand(tmp_path / "cut.safetensors", tmp_path / "out.ckpt")
    compress({"z": torch.zeros(2, dtype=torch.complex128)}, "half").save(tmp_path / "z.safetensors")
    with pytest.raises(
        WeightsError, match=r"safetensors cannot hold torch\.complex128, of 'z': expand to a \.ckpt instead"
    ):
        expand(tmp_path / "z.safetensors", tmp_path / "out.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"m.safetensors", "cut.safetensors", "z.safetensors"}


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_expand_on_a_disk_that_takes_nothing(compressed, tmp_path, monkeypatch, ending):
    compressed("half").save(tmp_path / "m.safetensors")

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(streamed_files, "byte_array", full)
    with pytest.raises(OSError, match=f"No space left on device.*out.{ending}"):
        expand(tmp_path / "m.safetensors", tmp_path / f"out.{ending}")
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_values_that_no_method_can_hold_come_back_bit_for_bit():
    special = torch.tensor([0x7F800001, -0x754322, 0x7F800000, -0x800000, 0x7F7FFFFF, 1], dtype=torch.int32)
    tensor = torch.cat([special.view(torch.float32), torch.randn(500, generator=torch.Generator().manual_seed(0))])
    plans = ["half", "paper-transformer", "paper-rnn", Plan(Rule("*", Interval(4, 1.0), Half("float16", "nearest")))]
    for plan in plans:
        words = compress({"w": tensor}, plan).restore()["w"].view(torch.int32)
        assert torch.equal(words[:4], special[:4])


MEASURE = """
    import json, resource, torch
    from lightning_compress import compress
    from lightning_compress.coding.contexts import Contexts
    from lightning_compress.coding.zstandard import Zstandard

    for coder in (Contexts, Zstandard):  # they take most of the time, and no memory after the first tensor
        coder.lower_bound = lambda self, statistics: None
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    size = 1 << 20
    compress({"w": torch.randn(size, generator=generator)}, "paper-rnn")
    state = {f"encoder.{i}.weight": torch.randn(size, generator=generator) for i in range(24)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    archive = compress(state, "paper-rnn")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([(after - before) * 1024, archive.nbytes]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts kilobytes as Linux does")
def test_memory_is_that_of_the_archive_and_a_few_tensors():
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE)], capture_output=True, text=True, check=True, timeout=300
    )
    grown, archive = json.loads(run.stdout)
    assert grown <= archive + 4 * (4 << 20) + (20 << 20)
