"""What a measurement of quality leaves behind: scalars, tables, and ``translations.json`` beside the checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lightning_compress.callbacks.translation.quality import COLUMNS, Comparison, Judge, Translations
from lightning_compress.files import read_bytes, write_record
from lightning_compress.logging import configure_runs, log_scalars, log_table

FILE = "translations.json"
PREFIX = "quality"
_KEYS = {"step", "signature", "bleu_exact", "samples"}


def scalars_of(name: str, comparison: Comparison, sign: float = 1.0) -> dict[str, float]:
    """``quality/NAME``, and where there are compressed weights ``quality/NAME_compressed`` and the drop.

    Args:
        name: of the score, such as ``bleu``.
        comparison: higher is better.
        sign: -1 where the user's own number is the negative of that.
    """
    values = {f"{PREFIX}/{name}": sign * comparison.exact.value}
    if comparison.compressed is not None and comparison.drop is not None:
        values[f"{PREFIX}/{name}_compressed"] = sign * comparison.compressed.value
        values[f"compression/{name}_drop"] = comparison.drop.value
        values[f"compression/{name}_drop_low"] = comparison.drop.low
        values[f"compression/{name}_drop_high"] = comparison.drop.high
    return values


def record_metric(loggers: Iterable[Any], name: str, comparison: Comparison, sign: float, step: int) -> None:
    """Log the scores of a metric of the user's choice."""
    log_scalars(loggers, scalars_of(name, comparison, sign), step)


def record_translations(
    loggers: Iterable[Any],
    folder: str,
    bleu: Comparison,
    translations: Translations,
    judge: Judge,
    samples: int,
    step: int,
) -> None:
    """Log scores and samples, and write them beside the checkpoints.

    Raises:
        ForeignFileError: another program's file has the name of ours.
        OSError: it cannot be written.
    """
    loggers = list(loggers)
    chrf = judge.chrf(translations.exact)
    chrf_compressed = None if translations.compressed is None else judge.chrf(translations.compressed)
    values = {**scalars_of("bleu", bleu), f"{PREFIX}/chrf": chrf}
    if chrf_compressed is not None:
        values |= {f"{PREFIX}/chrf_compressed": chrf_compressed, f"{PREFIX}/changed": translations.changed}
    log_scalars(loggers, values, step)
    log_table(loggers, f"{PREFIX}/translations", COLUMNS, translations.table(samples), step)
    names = dict(zip(("bleu_signature", "chrf_signature"), judge.signatures, strict=True))
    configure_runs(loggers, {PREFIX: names})
    drop = None if bleu.drop is None else [bleu.drop.value, bleu.drop.low, bleu.drop.high]
    record = {
        "step": step,
        "signature": judge.signatures[0],
        "bleu_exact": bleu.exact.value,
        "bleu_compressed": None if bleu.compressed is None else bleu.compressed.value,
        "drop": drop,
        "chrf_exact": chrf,
        "chrf_compressed": chrf_compressed,
        "chrf_signature": judge.signatures[1],
        "samples": [{k: v or "" for k, v in row.items()} for row in translations.samples(samples)],
    }
    text = json.dumps(record, ensure_ascii=False, indent=1)
    write_record(f"{folder.rstrip('/')}/{FILE}", text, _is_ours)


def _is_ours(path: str) -> bool:
    try:
        found = json.loads(bytes(read_bytes(path)))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.keys() >= _KEYS
