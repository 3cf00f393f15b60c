"""The class of each weight: the part of the model it belongs to.

The reference paper (section 2) splits a translation model into source embedding, target embedding, encoder, decoder
and softmax, and splits encoder and decoder further by layer. The same classes are derived for other models from tensor
names and module types; tensors that neither identifies get the class ``other``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from torch import nn

from lightning_compress.weights.arguments import nothing_matches
from lightning_compress.weights.names import matches, strip_wrappers

OTHER = "other"
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


def classify(
    names: Iterable[str],
    *,
    module: nn.Module | None = None,
    overrides: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, str]:
    """Assign a class to each tensor name.

    Args:
        names: tensor names, as in a state dict.
        module: the module they come from; its embeddings and its vocabulary projection are then recognized by type and
            size, independent of their names.
        overrides: class name → pattern or patterns of its tensors; they take precedence over the derived classes.

    Returns:
        name → class: ``source_embedding``, ``target_embedding``, ``embedding`` (side unknown), ``encoder.K``,
        ``decoder.K``, ``softmax`` or ``other``, or a class of ``overrides``. Tensors of an encoder or decoder outside
        its numbered layers, such as a final norm, belong to the last layer.

    Raises:
        WeightsError: a pattern of ``overrides`` matches nothing.
    """
    names = list(names)
    embeddings, projections = _typed_prefixes(module)
    networks = _generators_of_several_layers(map(strip_wrappers, names))
    derived = {name: _derive(strip_wrappers(name), embeddings, projections, networks) for name in names}
    last = {stack: _last_layer(stack, derived.values()) for stack in ("encoder", "decoder")}
    result = {name: last.get(value, value) for name, value in derived.items()}
    for class_name, patterns in (overrides or {}).items():
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            chosen = [name for name in names if matches(pattern, name)]
            if not chosen:
                raise nothing_matches(f"class {class_name!r}:", pattern, names)
            result.update(dict.fromkeys(chosen, class_name))
    return result


def _typed_prefixes(module: nn.Module | None) -> tuple[set[str], set[str]]:
    """Names of the embedding modules, and of the modules that project onto a vocabulary."""
    if module is None:
        return set(), set()
    modules = [(strip_wrappers(name), part) for name, part in module.named_modules()]
    tables = {name: part for name, part in modules if isinstance(part, (nn.Embedding, nn.EmbeddingBag))}
    vocabularies = {
        t.num_embeddings for name, t in tables.items() if not _POSITIONS.search(name.lower().split(".")[-1])
    }
    projections = {
        name
        for name, part in modules
        if isinstance(part, nn.Linear) and part.out_features in vocabularies and part.out_features > part.in_features
    }
    return set(tables), projections


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
    name = _PARAMETRIZED.sub(r".\1", name)
    parts = name.lower().split(".")
    owner = name.rpartition(".")[0]
    if (owner in embeddings or any(map(_EMBEDDING.search, parts))) and not _belongs_to_a_layer(parts):
        return _embedding_side(parts)
    is_in_network = any(map(name.lower().startswith, networks))
    ends = [part for part in parts[-3:] if not (is_in_network and part == _GENERATOR)]
    if owner in projections or any(map(_SOFTMAX.search, ends)):
        return "softmax"
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
    (``cls_token``, ``pos_embed``), or anything within a numbered layer of an encoder or decoder.
    """
    if any(map(_RELATIVE.search, parts)) or _PLAIN_PARAMETER.search(parts[-1]):
        return True
    in_stack = any(map(_STACK.search, parts))
    numbered = (_LAYERS.search(before) and number.isdigit() for before, number in pairwise(parts[:-2]))
    return in_stack and any(numbered)


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
