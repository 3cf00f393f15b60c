"""The experiments' results as Markdown tables, beside the paper's numbers.

A change is BLEU minus that of the exact weights, so a loss is negative. Only measured points are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from recipes.paper.results.bleu_series import grouped
from recipes.paper.results.class_order import in_model_order
from recipes.paper.results.model_results import TOGETHER, Results
from recipes.paper.results.reference_values import RUIN_BITS, RUIN_COVERAGE, WIDE_BITS, WIDE_COVERAGE
from recipes.paper.results.rows import Combined
from recipes.paper.settings import Settings
from recipes.paper.tables import markdown
from recipes.paper.tables.markdown import change, count, interval, number, percent, signed, times

TOLERANCE = Settings.tolerance  # drop of BLEU that still counts as kept
LEGEND = (
    "Changes are BLEU less that of the exact weights, in brackets the 95 % interval of the paired bootstrap; bold: "
    "significant by that test. Bytes and ratios are of the file on disk. An empty cell was not measured, or is not in "
    "the paper."
)


def tables(models: Sequence[Results]) -> str:
    """Every table and figure of the paper that was measured on at least one of the models, in Markdown."""
    sections = ((title, [part for part in make(models) if part]) for title, make in SECTIONS.items())
    return "\n\n".join([LEGEND, *(f"### {title}\n\n" + "\n\n".join(parts) for title, parts in sections if parts)])


def baselines(models: Sequence[Results]) -> Iterable[str]:
    """The exact weights of each model."""
    header = (
        "model",
        "weights",
        "fp32 bytes",
        "BLEU",
        "text",
        "sentences",
        "beam",
        "paper's model",
        "its size",
        "its BLEU",
    )
    rows = []
    for model in models:
        own, paper = model.baseline, model.paper
        theirs = (
            ("", "", "") if paper is None else (paper.title, f"{paper.combination[0].megabytes} MB", number(paper.bleu))
        )
        text = (own.split, count(own.sentences), str(own.beam))
        rows.append((model.name, count(own.weights), count(own.raw_bytes), number(own.bleu), *text, *theirs))
    yield markdown.table(header, rows)
    yield from dict.fromkeys(f"BLEU: `{model.baseline.signature}`" for model in models if model.baseline.signature)


def table1(models: Sequence[Results]) -> Iterable[str]:
    """Change of BLEU at each share and scheme, a table a model."""
    for model in models:
        if not model.pruning:
            continue
        points = {(row.scheme, row.share): row for row in model.pruning}
        schemes = list(dict.fromkeys(row.scheme for row in model.pruning))
        theirs = {scheme: {} if model.paper is None else model.paper.pruning_changes(scheme) for scheme in schemes}
        header, rows = ["pruned"], []
        for scheme in schemes:
            header += [scheme, "ratio", *(["paper"] if theirs[scheme] else [])]
        for share in sorted({share for _, share in points}):
            cells = [percent(share)]
            for scheme in schemes:
                point = points.get((scheme, share))
                cells += [change(point), times(None if point is None else point.ratio)]
                if theirs[scheme]:
                    cells.append(signed(theirs[scheme].get(round(share, 4))))
            rows.append(cells)
        beside = (
            ""
            if model.paper is None or not any(theirs.values())
            else f"; the paper's {model.paper.title}: {model.paper.bleu:.2f} BLEU"
        )
        yield f"**{model.name}**, exact weights: {model.baseline.bleu:.2f} BLEU{beside}."
        yield markdown.table(header, rows)
        yield from _lossless(model)


def _lossless(model: Results) -> Iterable[str]:
    """How far each scheme keeps BLEU: at that share and at every smaller one."""
    said = []
    for scheme, rows in grouped(model.pruning, lambda row: row.scheme).items():
        held = None
        for row in sorted(rows, key=lambda row: row.share):
            drop = row.drop or 0.0
            if drop > TOLERANCE or (row.significant and drop > 0):
                break
            held = row.share
        theirs = None if model.paper is None else model.paper.lossless.get(scheme)
        beside = "" if theirs is None else f" (in the paper {percent(theirs)})"
        said.append(f"{scheme} {percent(held) or 'none'}{beside}")
    yield f"Pruned with at most {TOLERANCE:g} BLEU lost, and not significantly, up to: {', '.join(said)}."


def combinations(models: Sequence[Results]) -> Iterable[str]:
    """The combination, step by step, a table a model."""
    header = (
        "step",
        "BLEU",
        "change",
        "bytes",
        "ratio on disk",
        "the formula's",
        "the paper's step",
        "change",
        "ratio",
    )
    for model in models:
        if not model.combination:
            continue
        paper = {} if model.paper is None else {_kind(step.label): step for step in model.paper.combination}
        rows = []
        for row in model.combination:
            step = paper.get(_kind(row.step))
            theirs = ("", "", "")
            if step is not None and model.paper is not None:
                theirs = (step.label, signed(step.bleu - model.paper.bleu), f"{step.ratio:g}×")
            rows.append(
                (
                    row.step,
                    number(row.bleu),
                    _loss(row),
                    count(row.bytes),
                    times(row.ratio),
                    times(row.formula),
                    *theirs,
                )
            )
        yield f"**{model.name}**" + ("" if model.paper is None else f", beside the paper's {model.paper.title}.")
        yield markdown.table(header, rows)


def _loss(row: Combined) -> str:
    return "" if _kind(row.step) == "baseline" else interval(row)


def _kind(step: str) -> str:
    """Which of the four steps a label means: its first word, ``baseline``, ``prune``, ``quantize`` or ``half``."""
    found = re.search(r"[a-z]+", step.lower())
    return found.group() if found else ""


def figure5(models: Sequence[Results]) -> Iterable[str]:
    """BisectionResult share of each class alone, and all of them together."""
    shown = [model for model in models if model.tolerances or model.together]
    if not shown:
        return
    shares = [{row.class_name: row.share for row in model.tolerances} for model in shown]
    classes = in_model_order(name for known in shares for name in known)
    rows = [[name, *(percent(known.get(name)) for known in shares)] for name in classes]
    whole = [None if model.together is None else model.together.share for model in shown]
    rows.append([f"{TOGETHER}: share of their weights", *(percent(share) for share in whole)])
    rows.append([f"{TOGETHER}: change of BLEU", *(interval(model.together) for model in shown)])
    rows.append([f"{TOGETHER}: ratio on disk", *(times(_together_ratio(model)) for model in shown)])
    theirs = [None if model.paper is None else model.paper.together_change for model in shown]
    rows.append([f"{TOGETHER}: change in the paper", *(signed(value) for value in theirs)])
    yield markdown.table(["class", *(model.name for model in shown)], rows)


def _together_ratio(model: Results) -> float | None:
    size = None if model.together is None else model.together.bytes
    return model.baseline.raw_bytes / size if size else None


def figure6(models: Sequence[Results]) -> Iterable[str]:
    """Change of BLEU for each way to read an index back, against bits."""
    for model in models:
        if not model.restores:
            continue
        points = {(row.bits, row.coverage, row.restore): row for row in model.restores}
        ways = list(dict.fromkeys(row.restore for row in model.restores))
        rows = [
            [str(bits), percent(coverage), *(interval(points.get((bits, coverage, way))) for way in ways)]
            for bits, coverage in sorted({(row.bits, row.coverage) for row in model.restores}, reverse=True)
        ]
        yield f"**{model.name}**, exact weights: {model.baseline.bleu:.2f} BLEU."
        yield markdown.table(["bits", "coverage", *ways], rows)
    if any(model.restores for model in models):
        yield (
            f"In the paper *middle* is best everywhere; at {RUIN_BITS} bits and below, *left* and *right* leave the "
            f"Transformer about 0 BLEU (coverage {percent(RUIN_COVERAGE)})."
        )


def figure7(models: Sequence[Results]) -> Iterable[str]:
    """Widest coverage that keeps BLEU, against bits; a dash where none of those tried does."""
    shown = [model for model in models if model.coverages]
    if not shown:
        return
    found = [{row.bits: row for row in model.coverages} for model in shown]
    rows = []
    for bits in sorted({bits for rows_ in found for bits in rows_}, reverse=True):
        cells = [str(bits)]
        for known in found:
            row = known.get(bits)
            cells += ["", ""] if row is None else [percent(row.coverage) or "–", interval(row)]
        rows.append(cells)
    yield markdown.table(["bits", *(c for model in shown for c in (model.name, "change of BLEU"))], rows)
    yield (
        f"In the paper both models keep more than {percent(WIDE_COVERAGE)} inside at {WIDE_BITS} bits, and the "
        "Transformer's interval is always the narrower one. A dash: no interval that was tried keeps BLEU."
    )


def figure8(models: Sequence[Results]) -> Iterable[str]:
    """The ratio by equation 2 and on disk, against bits, at the widest coverage that keeps BLEU."""
    header = ("bits", "coverage", "equation 2", "ratio on disk", "difference", "bytes")
    for model in models:
        if not model.rates:
            continue
        rows = []
        for row in sorted(model.rates, key=lambda row: -row.bits):
            off = "" if not row.formula or not row.ratio else f"{100 * (row.ratio / row.formula - 1):+.1f} %"
            rows.append(
                (str(row.bits), percent(row.coverage), times(row.formula), times(row.ratio), off, count(row.bytes))
            )
        yield f"**{model.name}**"
        yield markdown.table(header, rows)
    if any(model.rates for model in models):
        yield "In the paper the rate rises and then falls as bits become fewer."


SECTIONS: dict[str, Callable[[Sequence[Results]], Iterable[str]]] = {
    "Exact weights": baselines,
    "Table 1 and figure 4: pruning": table1,
    "Tables 2 and 3: the combination": combinations,
    "Figure 5: tolerance of each class alone": figure5,
    "Figure 6: left, middle or right": figure6,
    "Figure 7: the widest interval": figure7,
    "Figure 8: the rate": figure8,
}
