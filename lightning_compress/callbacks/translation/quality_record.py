"""Records a quality measurement: scalars and a table for the loggers, ``translations.json`` beside the checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from lightning_compress.callbacks.translation.quality import COLUMNS, Comparison, Judge, Translations
from lightning_compress.files import read_bytes, write_record
from lightning_compress.logging import configure_runs, log_scalars, log_table
from lightning_compress.logging.logger_types import LightningLogger

FILE = "translations.json"
PREFIX = "quality"
_KEYS = {"step", "signature", "bleu_exact", "samples"}


class MeasuredAt(NamedTuple):
    """When a measurement was made.

    Attributes:
        step: number of optimizer steps, as in the names of checkpoints and in compressed files.
        logged: the step at which Lightning logs now.
        epoch: the current epoch.
    """

    step: int
    logged: int
    epoch: int


def scalars_of(name: str, comparison: Comparison, sign: float = 1.0) -> dict[str, float]:
    """The scores by the keys they are logged under.

    They are ``quality/NAME``, and if compressed weights were measured, ``quality/NAME_compressed`` and
    ``compression/NAME_drop``, ``…_drop_low`` and ``…_drop_high``.

    Args:
        name: of the score, such as ``bleu``.
        comparison: of scores where higher is better.
        sign: -1 if lower is better in the user's own metric, which was negated; else 1.
    """
    values = {f"{PREFIX}/{name}": sign * comparison.exact.value}
    if comparison.compressed is not None and comparison.drop is not None:
        values[f"{PREFIX}/{name}_compressed"] = sign * comparison.compressed.value
        values[f"compression/{name}_drop"] = comparison.drop.value
        values[f"compression/{name}_drop_low"] = comparison.drop.low
        values[f"compression/{name}_drop_high"] = comparison.drop.high
    return values


def record_metric(
    loggers: Iterable[LightningLogger], name: str, comparison: Comparison, sign: float, moment: MeasuredAt
) -> None:
    """Log the scores of a metric that the user chose."""
    log_scalars(loggers, scalars_of(name, comparison, sign), moment.logged, epoch=moment.epoch)


def record_translations(
    loggers: Iterable[LightningLogger],
    folder: str,
    bleu: Comparison,
    translations: Translations,
    judge: Judge,
    samples: int,
    moment: MeasuredAt,
) -> None:
    """Log BLEU, chrF and sample translations, and write them into ``translations.json``.

    Args:
        loggers: Lightning loggers, or none.
        folder: of the checkpoints, a local path or a URL.
        bleu: the comparison of BLEU.
        translations: all translations of the measurement.
        judge: computes chrF, and names the signatures of both scores.
        samples: the number of sentences to show.
        moment: of the measurement.

    Raises:
        ForeignFileError: a file of this name exists that another program wrote.
        OSError: the file cannot be written.
    """
    loggers = list(loggers)
    chrf = judge.chrf(translations.exact)
    chrf_compressed = None if translations.compressed is None else judge.chrf(translations.compressed)
    values = {**scalars_of("bleu", bleu), f"{PREFIX}/chrf": chrf}
    if chrf_compressed is not None:
        values |= {f"{PREFIX}/chrf_compressed": chrf_compressed, f"{PREFIX}/changed": translations.changed}
    log_scalars(loggers, values, moment.logged, epoch=moment.epoch)
    log_table(loggers, f"{PREFIX}/translations", COLUMNS, translations.table(samples), moment.logged)
    names = dict(zip(("bleu_signature", "chrf_signature"), judge.signatures, strict=True))
    configure_runs(loggers, {PREFIX: names})
    drop = None if bleu.drop is None else [bleu.drop.value, bleu.drop.low, bleu.drop.high]
    record = {
        "step": moment.step,
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
