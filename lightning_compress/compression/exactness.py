"""Which tensors of a file are kept exactly and why, and whether a file was made from given tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from lightning_compress.archive import Entry, Manifest
from lightning_compress.errors import PlanError
from lightning_compress.messages.log_once import log_once
from lightning_compress.messages.name_lists import first_names
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import FLOATS
from lightning_compress.weights import BUFFER, Weight, Weights, is_guess

_log = logging.getLogger(__name__)
OUT_OF_RANGE = "beyond the range of its method"
OUT_OF_BOUND = "beyond the error bound of its method"
_BY_METHOD = {
    OUT_OF_RANGE: "make finite weights infinite",
    OUT_OF_BOUND: "change weights by more than its error bound",
}
_LARGE_SHARE, _LARGE_BYTES = 0.1, 1_000_000  # of buffers that a message tells of


def why_exact(manifest: Manifest) -> dict[str, str]:
    """Name → why the tensor is kept exactly; tensors that a lossy rule treats are left out.

    The reason is that of the entry (``buffer``, ``whole numbers`` …), the dtype, or what the plan says. The latter is
    left out where the plan names a method that is not installed.
    """
    try:
        rules: tuple[Rule, ...] | None = Plan.from_config(manifest.plan).rules
    except PlanError:
        rules = None
    aliases: dict[str, list[str]] = {}
    for alias, tie in manifest.ties.items():
        aliases.setdefault(tie.of, []).append(alias)
    reasons = ((e.name, _reason(e, [e.name, *aliases.get(e.name, ())], rules)) for e in manifest.entries)
    return {name: reason for name, reason in reasons if reason is not None}


def _reason(entry: Entry, names: list[str], rules: tuple[Rule, ...] | None) -> str | None:
    if entry.reason is not None:
        return entry.reason
    if entry.torch_dtype not in FLOATS:
        return f"dtype {entry.dtype}"
    if rules is None:
        return None
    rule = next((rule for rule in rules if rule.selects(names, [entry.class_name])), None)
    if rule is None:
        return "no rule"
    return None if rule.is_lossy else "the plan keeps it"


def tell_constants(manifest: Manifest) -> None:
    """Write to the log, once, what is kept exactly by its name or values alone, and buffers that take much space."""
    reasons = {entry.name: entry.reason for entry in manifest.entries if entry.reason is not None}
    for reason, what in _BY_METHOD.items():
        names = [name for name, found in reasons.items() if found == reason]
        if names:
            _tell(f"kept exactly, because their method would {what}", names, "rule with another method")
            reasons = {name: found for name, found in reasons.items() if found != reason}
    guessed = [f"{name} ({reason})" for name, reason in reasons.items() if is_guess(name, reason)]
    if guessed:
        _tell("kept exactly, as constants rather than weights", guessed)
    buffers = {e.name: e.raw_bytes for e in manifest.entries if e.reason == BUFFER and e.raw_bytes >= _LARGE_BYTES}
    if buffers and sum(buffers.values()) >= _LARGE_SHARE * manifest.raw_bytes:
        _tell("large buffers are kept exactly", list(buffers))


def tell_values_left_out(manifest: Manifest) -> None:
    """Write to the log, once, which hyper-parameters and checkpoint values cannot be stored exactly."""
    for what, names, advice in (
        ("hyper-parameters", manifest.hyper_parameters_left_out, "load_from_checkpoint asks for them"),
        ("values of on_save_checkpoint", manifest.checkpoint_left_out, "on_load_checkpoint does not get them"),
    ):
        if names:
            log_once(_log, logging.WARNING, f"{what} that cannot be stored exactly: {first_names(names)}; {advice}")


def _tell(what: str, names: Sequence[str], rule: str = "rule of its own") -> None:
    log_once(_log, logging.WARNING, f"{what}: {first_names(names)}. To compress one all the same, give it a {rule}")


def with_reasons_of(weights: Weights, manifest: Manifest) -> Weights:
    """The weights, with the reasons that a file of the same model holds.

    A file that was written with the module at hand also tells that a tensor is a weight, whatever its name and values.
    Files before version 3 hold no reasons, and change nothing.
    """
    if manifest.format_version < 3:
        return weights
    entries = {entry.name: entry for entry in manifest.entries}

    def known(weight: Weight) -> str | None:
        entry = entries.get(weight.name)
        if entry is None or entry.reason is not None:
            return weight.reason if entry is None else entry.reason
        # A raw tensor may be exact because of the plan of the file.
        is_weight = manifest.class_path is not None and entry.kind != "raw"
        return None if is_weight else weight.reason

    return replace(weights, weights=tuple(replace(weight, reason=known(weight)) for weight in weights))


def is_made_from(manifest: Manifest, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds exactly these tensors, apart from those that it leaves out.

    Args:
        manifest: that of the file.
        tensors: name → exact tensor, tied ones included.
    """
    return fingerprint_of(manifest, tensors) == manifest.fingerprint


def fingerprint_of(manifest: Manifest, tensors: Mapping[str, Tensor]) -> str | None:
    """The fingerprint that a file with the names of a manifest would have, were it made from these tensors.

    Args:
        manifest: and ``tensors`` as for :func:`is_made_from`.

    Returns:
        The fingerprint; None if names are missing, or some are in excess and not left out by the file.
    """
    names = set(manifest.names)
    if not names <= tensors.keys() or not tensors.keys() - names <= set(manifest.excluded):
        return None
    own = tuple(Weight(entry.name, tensors[entry.name], entry.class_name) for entry in manifest.entries)
    return Weights(own, ties=manifest.ties).fingerprint_like(manifest.fingerprint)
