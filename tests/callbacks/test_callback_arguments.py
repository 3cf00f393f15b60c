"""One contract over the callbacks: every wrong argument is an error of the constructor that says what was expected."""

from __future__ import annotations

import math

import pytest

from lightning_compress import CompressCheckpoint, LayerSensitivity, TranslationQuality
from lightning_compress.errors import CallbackError

AUTO, QUALITY = {"plan": "auto"}, {"sources": ["a"], "references": ["b"]}
CALLBACKS = {
    "compress": (CompressCheckpoint, AUTO),
    "sensitivity": (LayerSensitivity, {}),
    "quality": (TranslationQuality, {}),
}
WRONG = [
    ("compress", {"mode": "maximum"}, "mode='maximum' is not known: write 'min' or 'max'"),
    ("sensitivity", {"mode": "maximum"}, "mode='maximum' is not known: write 'min' or 'max'"),
    ("quality", {"metric": "val_bleu", "mode": "maximum"}, "mode='maximum' is not known: write 'min' or 'max'"),
    ("quality", {"mode": "maximum"}, "mode='maximum' is not known"),
    ("compress", {"max_drop": "0.3"}, "max_drop is '0.3', expected a finite number from 0"),
    ("compress", {"max_drop": math.nan}, "max_drop is nan, expected a finite number from 0"),
    ("compress", {"max_drop": -1}, "max_drop is -1, expected a finite number from 0"),
    ("compress", {"max_drop": True}, "max_drop is True, expected a finite number from 0"),
    ("compress", {"evaluate": len, "monitor": "val_bleu"}, "evaluate=… takes the place of monitor='val_bleu'"),
    ("compress", {"plan": "half", "max_drop": 0.5}, "search_at are for plan='auto', and the plan is 'half'"),
    ("compress", {"plan": "half", "effort": "quick"}, "search_at are for plan='auto'"),
    ("compress", {"effort": "nonsense"}, "effort='nonsense' is not known: write 'quick', 'default', 'thorough'"),
    ("compress", {"effort": 3}, "effort=3 is not known"),
    ("compress", {"monitor": 3}, "monitor is 3, expected the name of a metric such as 'val_bleu'"),
    ("compress", {"evaluate": "x"}, "evaluate is 'x', expected a function: module → score"),
    ("sensitivity", {"evaluate": "x"}, "evaluate is 'x', expected a function: module → score"),
    ("compress", {"calibration": [1]}, r"a list without outputs\(module, batch\) or loss\(module, batch\)"),
    ("sensitivity", {"calibration": [1]}, r"calibration is a list without loss\(module, batch\)"),
    ("compress", {"on_error": "ignore"}, "on_error='ignore' is not known: write 'warn' or 'raise'"),
    ("compress", {"when": "always"}, "when='always' is not known: write 'all', 'best' or 'last'"),
    ("compress", {"when": 3}, "when=3 is not known: write 'all', 'best' or 'last'"),
    ("compress", {"artifacts": "yes"}, "artifacts is 'yes', expected True, False or Artifacts"),
    ("compress", {"pictures": "no"}, "pictures is 'no', expected True or False"),
    ("compress", {"exclude": "teacher.*"}, "exclude is 'teacher.*', expected a list of patterns"),
    ("sensitivity", {"exclude": "teacher.*"}, "exclude is 'teacher.*', expected a list of patterns"),
    ("compress", {"classes": ["a"]}, "classes is .*, expected a mapping"),
    ("sensitivity", {"classes": {"a": 3}}, "expected a list of patterns"),
    ("sensitivity", {"strengths": 3}, "strengths is 3, expected a list"),
    ("sensitivity", {"strengths": [2.0]}, "takes a fraction from 0 to 1"),
    ("sensitivity", {"groups": "layer"}, "groups is 'layer', expected 'class', 'tensor'"),
    ("sensitivity", {"measure": 3}, "measure is 3, expected the name of a metric"),
    ("sensitivity", {"measure": "loss", "mode": "max"}, "mode='max' contradicts measure='loss'"),
    ("sensitivity", {"batches": "32"}, "batches is '32', expected a whole number from 1, or None"),
    ("sensitivity", {"tolerance": "0.1"}, "tolerance is '0.1', expected a finite number from 0, or None"),
    ("sensitivity", {"when": 2.5}, "when=2.5 is not known"),
    ("sensitivity", {"when": b"x"}, "when=b'x' is not known"),
    ("sensitivity", {"when": {3: "end"}}, "when={3: 'end'} is not known"),
    ("sensitivity", {"when": ("save", "best")}, "only one of 'save' and 'best'"),
    ("quality", {"when": "never"}, "when='never' is not known"),
    ("quality", {"when": "end", "at_save": True}, "when='end' takes the place of at_save: leave one of the two out"),
    ("quality", {"every_n_epochs": "2"}, "every_n_epochs is '2', expected a whole number from 0, or None"),
    ("quality", {"every_n_epochs": True}, "every_n_epochs is True, expected a whole number from 0"),
    ("quality", {"at_fit_end": "yes"}, "at_fit_end is 'yes', expected True or False"),
    ("quality", {"sentences": 2.5}, "sentences is 2.5, expected a whole number from 1, or None"),
    ("quality", {"samples": "20"}, "samples is '20', expected a whole number from 0"),
    ("quality", {"beam": 0}, "beam is 0, expected a whole number from 1, or None"),
    ("quality", {"metric": 3}, "metric is 3, expected the name of a metric"),
    ("quality", {**QUALITY, "translate": "x"}, "translate is 'x', expected a function"),
    ("quality", {**QUALITY, "sources": 3}, "sources is 3, expected a list of sentences"),
    ("quality", {**QUALITY, "sources": [1]}, r"sources is \[1\], expected a list of sentences"),
    ("quality", {**QUALITY, "references": "b"}, "references is 'b', expected a list of sentences"),
    ("quality", {**QUALITY, "references": {"b"}}, "references is {'b'}, expected a list of sentences"),
    ("quality", {"mode": "min"}, "mode='min' belongs to metric=…"),
    ("quality", {"metric": "val_loss", "beam": 1}, "leave out beam, tokenize and sentences"),
    ("quality", {"metric": "val_loss", "sentences": 5}, "leave out beam, tokenize and sentences"),
    ("quality", {"tokenize": 13}, "tokenize is 13, expected the name of a sacrebleu tokenizer"),
]


@pytest.mark.parametrize(("callback", "options", "message"), WRONG, ids=[f"{c} {o}" for c, o, _ in WRONG])
def test_a_wrong_argument_is_an_error_of_the_constructor(callback, options, message):
    create, needed = CALLBACKS[callback]
    with pytest.raises(CallbackError, match=message):
        create(**{**needed, **options})


@pytest.mark.parametrize("callback", CALLBACKS)
def test_the_defaults_are_accepted(callback):
    create, needed = CALLBACKS[callback]
    create(**needed)


def test_older_arguments_of_quality_are_moments():
    assert TranslationQuality().moments == TranslationQuality(when=("save", "end")).moments
    older = TranslationQuality(every_n_epochs=3, at_save=False, at_fit_end=False)
    assert older.moments == TranslationQuality(when=3).moments
