"""The model card of a compressed file: how small it is, what it loses, how it was made, and how it is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from importlib import metadata
from os import PathLike, fspath

import yaml

from lightning_compress.archive import Archive, Manifest
from lightning_compress.hub.library import ModelCard, ModelCardData
from lightning_compress.messages.name_lists import first_names
from lightning_compress.report.scores import Scores

LIBRARY = "lightning-compress"
TAGS = ("compressed", "pytorch")
_MOST_NAMES = 20
_LONG = 60  # lines of a plan


def model_card(
    source: Archive | str | PathLike[str],
    *,
    file_name: str | None = None,
    repository: str | None = None,
    has_mixin: bool = False,
    card_data: ModelCardData | None = None,
) -> ModelCard:
    """The card of a compressed file, with the YAML header that the hub reads.

    It says the bytes, the ratio to the uncompressed tensors and the bits per weight; the measured drop of the score
    and the drop expected on other data, if a search has written them into the file; the plan; what was left out; and
    how to load the file. Nothing in it says who made the model, or under which license: add that yourself.

    Args:
        source: the file or its path.
        file_name: the name that the card calls the file by; by default that of the path.
        repository: of the hub, such as ``"me/model"``; by default the card says where a path has to be given.
        has_mixin: whether the class of the module is a :class:`CompressedModelHubMixin`, so that it has
            ``from_pretrained``.
        card_data: the header; by default it names this library and tags.

    Raises:
        FormatError: the file is damaged, or no compressed file.
        OSError: it cannot be read.
    """
    archive = source if isinstance(source, Archive) else Archive.open(source, deferred=True)
    path = "model.compressed.safetensors" if isinstance(source, Archive) else fspath(source)
    name = file_name or re.split(r"[/\\]", path)[-1]
    data = card_data or ModelCardData(library_name=LIBRARY, tags=[*TAGS])
    title = _class_name(archive.manifest) or _plain(name)
    sections = (
        f"# {title}\n\nThe weights of this model were compressed by lightning-compress {metadata.version(LIBRARY)}.",
        _sizes(archive, name),
        f"## Loss\n\n{_loss(archive.manifest)}",
        f"## How to load it\n\n{_loading(archive.manifest, name, repository, has_mixin)}",
        f"## Plan\n\n{_plan(archive.manifest)}",
        *_left_out(archive.manifest),
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n")


def _sizes(archive: Archive, name: str) -> str:
    report = archive.report()
    rows = {
        "file": f"{_code(name)}, {report.file_bytes:,} bytes",
        "weights": f"{report.weights:,} in {len(report.rows):,} tensors, {report.raw_bytes:,} bytes uncompressed",
        "ratio": f"{report.ratio:.2f}",
        "bits per weight": f"{report.bits_per_weight:.2f}",
        "zeros": f"{report.sparsity:.1%}",
        "format version": str(archive.manifest.format_version),
    }
    return _table(rows)


def _loss(manifest: Manifest) -> str:
    scores = Scores.of(manifest.metrics)
    if math.isnan(scores.drop):
        return "The file holds no score: what the compression loses was not measured when it was made."
    low, high = scores.interval
    interval = "" if math.isnan(low + high) else f" (95 % interval {low:.4g} to {high:.4g})"
    measure = _code(scores.measure) if scores.measure else "score"
    exact, found = (f"{scores.sign * score:.6g}" for score in (scores.before, scores.after))
    rows = {f"{measure} of the exact weights": exact, f"{measure} of this file": found}
    rows["drop that was measured"] = f"{scores.drop:.4g}{interval}"
    if not math.isnan(scores.expected):
        rows["drop that is expected on other data"] = f"{scores.expected:.4g}"
    if not math.isnan(scores.assured):
        rows["probability that the allowed drop is kept there"] = f"{scores.assured:.0%}"
    return _table(rows)


def _loading(manifest: Manifest, name: str, repository: str | None, has_mixin: bool) -> str:
    kind = _class_name(manifest) or "YourModel"
    path = _text(name)
    lines = ["from lightning_compress import load" + ("" if has_mixin else ", load_from_checkpoint"), ""]
    if repository is not None:
        lines[:0] = ["from huggingface_hub import hf_hub_download"]
        lines += [f"path = hf_hub_download({_text(repository)}, {path})"]
        path = "path"
    if has_mixin:
        lines += [f"model = {kind}.from_pretrained({_text(repository or 'path/of/this/folder')})"]
    else:
        lines += [f"model = load_from_checkpoint({kind}, {path})  # {kind}: your class"]
    lines += [f"tensors = load({path})  # name → tensor"]
    text = "`pip install lightning-compress`. Other readers of safetensors files refuse this one."
    return f"{text}\n\n{_fenced('python', chr(10).join(lines))}"


def _plan(manifest: Manifest) -> str:
    """The plan as YAML, folded if it is long."""
    text = yaml.safe_dump(dict(manifest.plan), sort_keys=False)
    block, lines = _fenced("yaml", text), text.count("\n")
    return block if lines <= _LONG else f"<details><summary>{lines} lines of YAML</summary>\n\n{block}\n\n</details>"


def _left_out(manifest: Manifest) -> Iterator[str]:
    lists = {
        "tensors": manifest.excluded,
        "hyper-parameters": manifest.hyper_parameters_left_out,
        "values of the checkpoint": manifest.checkpoint_left_out,
    }
    lines = [f"- {what}: {first_names([*map(_code, names)], _MOST_NAMES)}" for what, names in lists.items() if names]
    if lines:
        yield "## Left out\n\nThe file does not hold:\n\n" + "\n".join(lines)


def _class_name(manifest: Manifest) -> str:
    """Name of the class of the module; empty if the file does not say it, or not as a name."""
    name = (manifest.class_path or "").rpartition(".")[2]
    return name if name.isidentifier() else ""


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _fenced(language: str, text: str) -> str:
    """A block of code, whose text cannot end it."""
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _code(text: str) -> str:
    """A name from a file as code within a line."""
    plain = _plain(text).replace("|", "\\|")
    mark = "`" * (1 + _longest_run(plain))
    return f"{mark} {plain} {mark}" if "`" in plain else f"{mark}{plain}{mark}"


def _plain(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _text(name: str) -> str:
    return '"' + ascii(name)[1:-1].replace('"', '\\"') + '"'


def _longest_run(text: str) -> int:
    """Length of the longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)
