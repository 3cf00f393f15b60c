"""Every argument of the public surface is checked: a wrong value is refused by a message that names the argument.

A table has a row for each public class and function, and in it every parameter: with values that are refused, or free.
"""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from each_case import naming
from lightning_fabric import Fabric
from torch import nn

import lightning_compress as package
from lightning_compress import callbacks, search
from lightning_compress.errors import (
    CallbackError,
    CompressionError,
    FormatError,
    MismatchError,
    PlanError,
    SearchError,
    WeightsError,
)

NAN, INF, THING = math.nan, math.inf, object()
FREE = ()  # any value is taken
FLAG = (1, None, "yes", [])
WHOLE = (True, -1, 1.5, NAN, "3", [], THING)
SHARE = (True, -0.1, 1.5, NAN, INF, "0.5", None, [])
CHOICE = ("", "misspelt", 1, True, None, [], THING)
FUNCTION = (1, "name", [], THING)
PATTERNS = ("*.bias", b"*", 3, None, [3], {"a": "b"}, THING)
CLASSES = ("attn", 3, ["attn"], {"attn": 3}, {3: "*"}, THING)
PATH = (3, None, [], THING)
TEXT = ("", 3, True, [], THING, "line\nbreak")
PLAN = ("hlaf", "", 3, None, ["half"], THING, "missing.yaml", "{rules: 3}", "{")
MODULE = (3, None, "name", nn.Linear)

NET = nn.Linear(3, 2)
HALF = package.Half()
SEARCH_WEIGHTS = {"weights": (3, "x", {}, NET), "exclude": PATTERNS, "classes": CLASSES}


def score_of(module):
    return 1.0


def auto(**arguments):
    return package.CompressCheckpoint("auto", **arguments)


def rule(pattern="*", methods=HALF, **arguments):
    return package.Rule(pattern, methods, **arguments)


# name → (what is called, its error, good arguments, argument → values that are refused)
TABLE = {
    "CompressedCheckpointIO": (package.CompressedCheckpointIO, CallbackError, {}, {"whole_every": WHOLE}),
    "Archive": (
        package.Archive.open,
        FormatError,
        {"path": "x"},
        {"path": FREE, "max_bytes": (True, -1, NAN, "1", []), "deferred": FREE},
    ),
    "Artifacts": (
        package.Artifacts,
        CallbackError,
        {},
        {
            "keep": (*WHOLE, 0),
            "old": CHOICE,
            "expire_days": (True, 0, -1, NAN, INF, "30", None, []),
            "name": (*TEXT, "a/b", "a b", "a" * 129),
        },
    ),
    "Binary": (package.Binary, PlanError, {}, {"scope": CHOICE, "outliers": SHARE}),
    "CompressCheckpoint": (
        auto,
        CallbackError,
        {},
        {
            "plan": FREE,  # in the row "plan"
            "when": CHOICE,
            "on_error": CHOICE,
            "classes": CLASSES,
            "exclude": PATTERNS,
            "evaluate": FUNCTION,
            "monitor": TEXT,
            "mode": ("maximum", "", 1, True, []),
            "max_drop": (True, -1, NAN, INF, "0.3", []),
            "calibration": (3, "x", [], THING),
            "assured": (True, 0.4, 1.0, NAN, "0.9", None),
            "confirm": (3, None, "x"),
            "search_at": CHOICE,
            "effort": CHOICE,
            "artifacts": (None, 1, "yes", [], THING),
            "pictures": FLAG,
            "background": tuple(value for value in CHOICE if value is not None),
        },
    ),
    "Grid": (
        package.Grid,
        PlanError,
        {"step": 0.1},
        {
            "step": (True, 0, -1, NAN, INF, "0.1", None),
            "trellis": (True, 3, -4, 4.0, "8", None),
            "relative": FLAG,
            "scope": CHOICE,
            "rate_weight": (True, -1, NAN, INF, "0.1", None),
        },
    ),
    "GroupWise": (
        package.GroupWise,
        PlanError,
        {"bits": 4},
        {"bits": (*WHOLE, 1, 9), "size": (*WHOLE, 0), "scale_bits": (*WHOLE, 4), "outliers": SHARE},
    ),
    "Half": (package.Half, PlanError, {}, {"format": CHOICE, "rounding": CHOICE}),
    "Interval": (
        package.Interval,
        PlanError,
        {"bits": 4},
        {"bits": (*WHOLE, 0, 40), "coverage": SHARE, "restore": CHOICE, "scope": CHOICE},
    ),
    "KMeans": (
        package.KMeans,
        PlanError,
        {"clusters": 4},
        {"clusters": (*WHOLE, 0), "scope": CHOICE, "start": CHOICE, "outliers": SHARE},
    ),
    "LayerSensitivity": (
        package.LayerSensitivity,
        CallbackError,
        {},
        {
            "strengths": (0.2, "0.2", [], ["0.2"], [THING], None, [0.2, 0.2]),
            "groups": ("clas", 3, None, {}, {"a": 3}, {"a": []}),
            "when": ("", "misspelt", True, None, [], THING, -1, 0, ("end", "ned")),
            "measure": TEXT,
            "mode": ("maximum", "", 1, True, []),
            "batches": (*WHOLE, 0),
            "tolerance": (True, -1, NAN, INF, "0.1", []),
            "evaluate": FUNCTION,
            "calibration": (3, "x", [], THING),
            "classes": CLASSES,
            "exclude": PATTERNS,
        },
    ),
    "Logarithmic": (
        package.Logarithmic,
        PlanError,
        {"bits": 4},
        {"bits": (*WHOLE, 1, 7), "scope": CHOICE, "outliers": SHARE},
    ),
    "LowRank": (package.LowRank, PlanError, {}, {"rank": (*WHOLE, 0), "energy": (True, 0, 1, NAN, "0.9", [])}),
    "Plan": (package.Plan, PlanError, {}, {"rules": FREE}),
    "Prune": (package.Prune, PlanError, {"amount": 0.1}, {"amount": SHARE, "scope": CHOICE}),
    "Raw": (package.Raw, PlanError, {}, {}),
    "Rule": (
        rule,
        PlanError,
        {},
        {
            "pattern": ("", 3, None, [], "\ud800"),
            "methods": (3, None, "half", package.Half, THING),
            "by": CHOICE,
            "optional": FLAG,
        },
    ),
    "Score": (
        package.Score,
        SearchError,
        {"value": 1.0},
        {"value": (True, "1", None, [], THING), "statistics": ([[1.0]], 3), "combine": (3, score_of)},
    ),
    "Ternary": (package.Ternary, PlanError, {}, {"scope": CHOICE, "outliers": SHARE}),
    "TranslationQuality": (
        package.TranslationQuality,
        CallbackError,
        {},
        {
            "sources": ("text", 3, ["a"]),
            "references": ("text", 3, ["a"]),
            "translate": FUNCTION,
            "metric": TEXT,
            "mode": ("maximum", "", 1, True, "max"),
            "plan": FREE,  # in the row "plan"
            "when": ("", "misspelt", True, [], THING, 0),
            "every_n_epochs": WHOLE,
            "at_save": (1, "yes", []),
            "at_fit_end": (1, "yes", []),
            "beam": (*WHOLE, 0),
            "tokenize": TEXT,
            "sentences": (*WHOLE, 0),
            "samples": (*WHOLE, None),
        },
    ),
    "Weights": (
        package.Weights.from_state_dict,
        WeightsError,
        {"state": NET.state_dict()},
        {
            "state": (3, None, "x", [], {"a": 3}, {3: torch.ones(1)}),
            "module": (3, "name", nn.Linear),
            "exclude": (*PATTERNS, ["*.misspelt"]),
            "classes": (*CLASSES, {"a": "*.misspelt"}),
            "hyper_parameters": FREE,
            "record": (3, "x", {}),
        },
    ),
    "bleu_score": (
        package.bleu_score,
        SearchError,
        {"hypotheses": ["a"], "references": ["a"]},
        {
            "hypotheses": ("a", 3, None, [], [3], {"a": 1}),
            "references": ("a", 3, None, [], [3], [[]], ["a", "b"], {"a": 1}),
            "options": FREE,  # sacrebleu checks its own
        },
    ),
    "compress": (
        package.compress,
        CompressionError,
        {"source": NET, "plan": "half"},
        {
            "source": (3, None, [], THING, "missing.ckpt"),
            "plan": PLAN,
            "guidance": (3, "x", [], {"misspelt": 3}),
            "on_tensor": FUNCTION,
            "known": (3, "x", {}),
        },
    ),
    "expand": (
        package.expand,
        WeightsError,
        {"path": "x"},
        {
            "path": FREE,
            "out": ("a.cpkt", "a", "a.pt"),
            "max_bytes": FREE,  # as for load
            "on_tensor": FREE,
            "dtype": FREE,  # tests/loading
        },
    ),
    "save_compressed": (
        package.save_compressed,
        CompressionError,
        {"fabric": Fabric(accelerator="cpu", devices=1), "module": NET, "path": "x.compressed.safetensors"},
        {
            "fabric": (3, None, "x", THING),
            "module": (3, None, [], THING, "missing.ckpt"),
            "path": PATH,
            "plan": FREE,  # read on rank 0, whose errors tests/compression looks at
        },
    ),
    "load": (
        package.load,
        FormatError,
        {"path": "x"},
        {"path": FREE, "names": FREE, "device": FREE, "max_bytes": (True, -1, NAN, "1", [])},
    ),
    "load_from_checkpoint": (package.load_from_checkpoint, CompressionError, {}, None),  # tests/loading
    "mean_loss": (
        callbacks.mean_loss,
        CallbackError,
        {"batches": None},
        {"calibration": (3, "x", [], None), "batches": FREE},
    ),
    "prune_artifacts": (
        package.prune_artifacts,
        CallbackError,
        {"path": "a/b/c", "artifacts": package.Artifacts()},
        {"path": ("", "a", "a/b", "a//b", 3, None), "artifacts": (None, True, "x"), "run": ("", 3, [])},
    ),
    "reconcile": (
        callbacks.reconcile,
        CompressionError,
        {"folder": "."},
        {"folder": (*PATH, ""), "plan": PLAN, "classes": CLASSES, "exclude": PATTERNS},
    ),
    "retarget": (
        package.retarget,
        SearchError,
        {"weights": NET, "archive": "x"},
        {"weights": FREE, "archive": FREE, "max_bytes": (True, 0, -1, 1.5, NAN, INF, "1", None)},
    ),
    "smallest": (
        package.smallest,
        SearchError,
        {"module": NET, "evaluate": score_of, "max_drop": 0.1},
        {
            "module": MODULE,
            "evaluate": (*FUNCTION, None),
            "max_drop": (True, -1, NAN, "0.3", None),
            "max_bytes": (True, 0, -1, 1.5, NAN, INF, "1"),
            "min_score": (True, NAN, INF, "1", []),
            "calibration": (3, "x", [], THING),
            "assured": (True, 0.4, 1.0, NAN, "0.9", None),
            "confirm": (3, None, "x"),
            "effort": CHOICE,
            "progress": FLAG,
            "families": FUNCTION,
            **SEARCH_WEIGHTS,
        },
    ),
    "layer_sensitivities": (
        search.layer_sensitivities,
        SearchError,
        {"module": NET, "evaluate": score_of},
        {
            "module": MODULE,
            "evaluate": (*FUNCTION, None),
            "strengths": (0.2, "0.2", [], ["0.2"], None),
            "groups": ("clas", 3, None, {}, {"a": "misspelt*"}),
            "measure": (*TEXT[:-1], None),
            "higher_is_better": FLAG,
            "calibration": (3, "x", [], THING),
            "gradient_batches": (*WHOLE, 0, None),
            "progress": FLAG,
            **SEARCH_WEIGHTS,
        },
    ),
    "Strength": (
        search.Strength,
        CompressionError,
        {"label": "a", "methods": (HALF,)},
        {"label": TEXT[:-1], "methods": (3, None, "half", (), (3,))},
    ),
    "paired_drop": (
        search.paired_drop,
        SearchError,
        {"before": package.Score(1.0), "after": package.Score(1.0)},
        {"before": (1.0, None), "after": (1.0, None), "resamples": (*WHOLE, 0), "seed": WHOLE},
    ),
}
CLEAR = {"source", "out"}  # arguments whose value is enough in a message
# An exception, what a function returns, and the callbacks whose arguments tests/training looks at.
TRAINING = {"Distill", "LayerDrop", "ProximalPenalty", "PruneDuringTraining", "QuantizeActivations"}
TRAINING |= {"QuantizeDuringTraining"}
WITHOUT_ARGUMENTS = {"CompressedCLIMixin", "CompressionError", "LoadCompressedMixin", "ReadCompressed", "Reconciled"}
OTHERS = {*WITHOUT_ARGUMENTS, *TRAINING}


def parameters(name):
    """The parameters of a public class or function, by the signature that a user sees."""
    public = getattr(package, name, None) or getattr(callbacks, name, None) or getattr(search, name)
    seen = TABLE[name][0] if inspect.isclass(public) and inspect.ismethod(TABLE[name][0]) else public
    return set(inspect.signature(seen).parameters)


def test_every_public_parameter_is_in_the_table():
    assert set(TABLE) >= {*package.__all__, *callbacks.__all__} - OTHERS
    for name, (_, _, _, refused) in TABLE.items():
        with naming(name):
            assert refused is None or set(refused) == parameters(name)


def fault(call, error, arguments, name):
    """What is wrong with how the argument ``name`` is refused; None if nothing is."""
    try:
        call(**arguments)
    except error as refusal:
        message = str(refusal)
        is_named = name[:5] in message or name in CLEAR or isinstance(refusal, PlanError)
        return None if is_named and 20 < len(message) < 1200 else message
    except Exception as other:
        return f"{type(other).__name__}: {other}"
    return "accepted"


def test_a_wrong_value_is_refused_by_a_message_that_names_its_argument():
    faults = {
        (name, argument, repr(value)): found
        for name, (call, error, good, refused) in TABLE.items()
        for argument, values in (refused or {}).items()
        for value in values
        if (found := fault(call, error, {**good, argument: value}, argument)) is not None
    }
    assert not faults


def test_a_path_of_another_type_is_pythons_own_error():
    for call in (package.Archive.open, package.load, package.Weights.from_checkpoint):
        for value in PATH:
            with (
                naming((call, value)),
                pytest.raises(TypeError, match=r"expected str, bytes or os\.PathLike object, not"),
            ):
                call(value)


def test_a_misspelt_keyword_is_named():
    for name, (call, _, good, _) in TABLE.items():
        with naming(name), pytest.raises((TypeError, MismatchError, PlanError), match=r"misspelt|cls"):
            call(**good, misspelt=1)


def test_a_misspelt_word_in_yaml_is_named_with_the_closest_one():
    for text, message in {
        "rulse: []": r"'rulse' \(did you mean 'rules'\?\)",
        "rules: [{tensor: '*', methods: [half]}]": r"'tensor' \(did you mean 'tensors'\?\)",
        "rules: [{tensors: '*', method: [half]}]": r"'method' \(did you mean 'methods'\?\)",
        "rules: [{tensors: '*', methods: [hafl]}]": r"'hafl' is unknown \(did you mean 'half'\?\)",
        "rules: [{tensors: '*', methods: [{interval: {bit: 4}}]}]": r"'bit' \(did you mean 'bits'\?\)",
        "rules: [{tensors: '*', methods: [{interval: {}}]}]": r"'interval' has no bits",
        "rules: [{tensors: '*', methods: [{half: {format: bfloat}}]}]": "format 'bfloat' is unknown; write one of",
        "rules: [{tensors: '*', methods: [{half: [bfloat16]}]}]": "expected a mapping",
        "rules: [{tensors: '*', optional: maybe, methods: [half]}]": "optional is 'maybe', write true or false",
        "rules: half": "rules is 'half', expected a list",
    }.items():
        with naming(text), pytest.raises(PlanError, match=message):
            package.Plan.resolve(f"{{{text}}}")


def test_a_misspelt_pattern_names_the_closest_tensor():
    with pytest.raises(WeightsError, match=r"exclude pattern 'wieght' matches none of .*did you mean 'weight'"):
        package.Weights.from_module(NET, exclude=["wieght"])
    with pytest.raises(WeightsError, match=r"class 'a': pattern 'baias' matches none of .*did you mean 'bias'"):
        package.Weights.from_module(NET, classes={"a": "baias"})
    with pytest.raises(PlanError, match=r"rule 'wieght' selects none .*did you mean 'weight'"):
        package.compress(NET, package.Plan(package.Rule("wieght", HALF)))
    with pytest.raises(PlanError, match=r"guidance names 'wieght', .*did you mean 'weight'"):
        package.compress(NET, "half", guidance={"wieght": None})


def test_a_misspelt_option_of_the_command_line_is_named(run, tmp_path):
    checkpoint = tmp_path / "a.ckpt"
    torch.save(NET.state_dict(), checkpoint)
    out = tmp_path / "a.safetensors"
    for arguments, status, message in (
        (("compress", checkpoint, out, "--plna", "half"), 2, "--plan"),
        (("comprss", checkpoint, out), 2, "comprss"),
        (("compress", checkpoint, out, "--plan", "hlaf"), 1, "did you mean 'half'?"),
        (("compress", checkpoint, out, "--exclude", "baias"), 1, "did you mean 'bias'?"),
        (("expand", out, tmp_path / "a.cpkt"), 1, ""),
    ):
        with naming(arguments):
            given, _, printed = run(*arguments)
            assert given == status
            assert message in printed
            assert not out.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a.ckpt"}
