"""The classes of translation models, from tensor names and module types; they are found in other models too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from torch import nn

from lightning_compress.weights.names import strip_wrappers

OTHER = "other"
SOFTMAX = "softmax"
EMBEDDINGS = ("source_embedding", "target_embedding", "embedding")
_GENERATOR = "generator"  # of words, or of images
_SOURCE = re.compile(r"(?:^|[._])(?:src|source|enc(?:oders?)?(?![a-z]))")
_TARGET = re.compile(r"(?:^|[._])(?:tgt|trg|target|dec(?:oders?)?(?![a-z]))")
_STACK = re.compile(r"^(encoders?|decoders?|enc|dec)(?![a-z])|(encoders?|decoders?)$")
_EMBEDDING = re.compile(r"embed|(?<![a-z])emb(?![a-z])|emb$|^wte$|^wpe$")
_POSITIONS = re.compile(r"pos|^wpe$")
_RELATIVE = re.compile(r"(?:^|_)rel(?:ative)?_|pos_conv")
_PLAIN_PARAMETER = re.compile(r"(?:^|_)pos|tokens?$|(?:^|_)(?:cls|class|spec)_embed")
_LAYERS = re.compile(r"^(?:layer|block|stage)s?$|^h$")
_PARAMETRIZED = re.compile(r"\.parametrizations\.(\w+)\.original\d*$")
_SOFTMAX = re.compile(
    r"softmax|^generator$|^lm_head$|^output_projection$|^output_layer$|^classifier$|^fc_out$|logits"
    r"|^(vocab|vocabulary)_(proj|projection)$|^predictions$"
)
_NUMBERED = re.compile(r"^(\d+)$|(?:layer|block|stage)_(\d+)$")
_RECURRENT_LAYER = re.compile(r"_l(\d+)(?:_reverse)?$")


def translation_classes(names: Mapping[str, str], module: nn.Module | None) -> dict[str, str]:
    """The class of each tensor; ``other`` for those that neither names nor types identify.

    Args:
        names: name → the name without wrappers.
        module: the module they come from, if it is known.
    """
    embeddings, projections = _typed_prefixes(module)
    networks = _generators_of_several_layers(names.values())
    derived = {name: _derive(inner, embeddings, projections, networks) for name, inner in names.items()}
    last = {stack: _last_layer(stack, derived.values()) for stack in ("encoder", "decoder")}
    return {name: last.get(value, value) for name, value in derived.items()}


def is_plain_parameter(last: str) -> bool:
    """Whether the last part of a name is that of one vector or of positions without a module of their own."""
    return bool(_PLAIN_PARAMETER.search(last.lower()))


def without_parametrization(name: str) -> str:
    """The name that a parametrized tensor has without its parametrization."""
    return _PARAMETRIZED.sub(r".\1", name)


def _typed_prefixes(module: nn.Module | None) -> tuple[set[str], set[str]]:
    """Names of the embedding modules, and of the modules that project onto a vocabulary."""
    if module is None:
        return set(), set()
    modules = [(strip_wrappers(name), part) for name, part in module.named_modules()]
    tables = {name: part for name, part in modules if isinstance(part, (nn.Embedding, nn.EmbeddingBag))}
    vocabularies = {t.num_embeddings for name, t in tables.items() if not _counts_positions(name.lower())}
    projections = {
        name
        for name, part in modules
        if isinstance(part, nn.Linear) and part.out_features in vocabularies and part.out_features > part.in_features
    }
    return set(tables), projections


def _counts_positions(name: str) -> bool:
    """Whether the rows of an embedding stand for positions or distances, by its name; not for words."""
    last = name.split(".")[-1]
    return bool(_POSITIONS.search(last) or _RELATIVE.search(last))


def _generators_of_several_layers(names: Iterable[str]) -> set[str]:
    """Prefixes of modules called generator that are networks, as that of a GAN, and no projection onto a vocabulary."""
    owners: dict[str, set[str]] = {}
    for name in names:
        parts = name.lower().split(".")[:-1]
        for position, part in enumerate(parts):
            if part == _GENERATOR:
                owners.setdefault(".".join(parts[: position + 1]), set()).add(".".join(parts))
    return {f"{prefix}." for prefix, found in owners.items() if len(found) > 1}


def _derive(name: str, embeddings: set[str], projections: set[str], networks: set[str]) -> str:
    """Class of one name; ``encoder`` or ``decoder`` without a number if the name contains no layer."""
    name = without_parametrization(name)
    parts = name.lower().split(".")
    owner = name.rpartition(".")[0]
    if (owner in embeddings or any(map(_EMBEDDING.search, parts))) and not _belongs_to_a_layer(parts):
        return _embedding_side(parts)
    is_in_network = any(map(name.lower().startswith, networks))
    ends = [part for part in parts[-3:] if not (is_in_network and part == _GENERATOR)]
    if owner in projections or any(map(_SOFTMAX.search, ends)):
        return SOFTMAX
    for position, part in enumerate(parts):
        found = _STACK.search(part)
        if found:
            stack = "encoder" if "enc" in found.group() else "decoder"
            layer = _layer(parts[position:])
            return stack if layer is None else f"{stack}.{layer}"
    return OTHER


def _belongs_to_a_layer(parts: Sequence[str]) -> bool:
    """Whether what is called an embedding is no table of words or positions, but a part of the layer that it lies in.

    That is a table of relative positions, one vector or positions kept as a parameter without a module of its own
    (``cls_token``, ``pos_embed``), or anything within a numbered layer.
    """
    if any(map(_RELATIVE.search, parts)) or is_plain_parameter(parts[-1]):
        return True
    return any(_LAYERS.search(before) and number.isdigit() for before, number in pairwise(parts[:-2]))


def _embedding_side(parts: Sequence[str]) -> str:
    text = ".".join(parts)
    if _SOURCE.search(text) and not re.search(r"src_tgt|shared", text):
        return "source_embedding"
    return "target_embedding" if _TARGET.search(text) else "embedding"


def _layer(parts: Sequence[str]) -> int | None:
    """Layer number: the first number among the parts, ``layer_0``, or a recurrent module's ``_l0`` suffix."""
    for part in parts:
        if found := _NUMBERED.search(part):
            return int(found.group(1) or found.group(2))
    found = _RECURRENT_LAYER.search(parts[-1])
    return int(found.group(1)) if found else None


def _last_layer(stack: str, classes: Iterable[str]) -> str:
    layers = [int(c.rpartition(".")[2]) for c in classes if c.startswith(f"{stack}.")]
    return f"{stack}.{max(layers, default=0)}"
