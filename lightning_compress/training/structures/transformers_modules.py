"""Structures of models of ``transformers``, known by their names: the package need not be installed."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from lightning_compress.training.structures.registry import ResidualLayer, describes, register_layers
from lightning_compress.training.structures.structure import Structure, attention_heads, feed_forward

_LIKE_BERT = (("bert", "Bert"), ("electra", "Electra"), ("roberta", "Roberta"), ("xlm_roberta", "XLMRoberta"))


def _names(part: str) -> tuple[str, ...]:
    return tuple(f"transformers.models.{folder}.modeling_{folder}.{first}{part}" for folder, first in _LIKE_BERT)


def _t5(part: str) -> str:
    return f"transformers.models.t5.modeling_t5.T5{part}"


def _linear(module: nn.Module, name: str) -> nn.Linear:
    found = module.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


@describes(*_names("Attention"))
def bert_attention(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of an attention like that of BERT."""
    inner = module.get_submodule("self")

    def finish(left: int) -> None:
        inner.__dict__["num_attention_heads"] = left
        inner.__dict__["all_head_size"] = left * size

    heads = inner.num_attention_heads
    assert isinstance(heads, int)
    size = _linear(inner, "query").out_features // heads
    projections = {part: _linear(inner, part) for part in ("query", "key", "value")}
    yield attention_heads(name, heads, projections, _linear(module, "output.dense"), finish=finish)


@describes(*_names("Layer"))
def bert_layer(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of the feed-forward part."""
    inner = [_linear(module, "intermediate.dense")]
    yield feed_forward(f"{name}.intermediate", inner, _linear(module, "output.dense"))


@describes(_t5("Attention"))
def t5_attention(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of T5. They stay where they are: all layers share position biases, which have a column a head."""
    heads = module.n_heads
    assert isinstance(heads, int)
    projections = {part: _linear(module, part) for part in ("q", "k", "v")}
    yield attention_heads(name, heads, projections, _linear(module, "o"), is_removable=False)


@describes(_t5("DenseActDense"), _t5("DenseGatedActDense"))
def t5_feed_forward(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of T5, gated or not."""
    inner = [_linear(module, part) for part in ("wi", "wi_0", "wi_1") if hasattr(module, part)]
    yield feed_forward(name, inner, _linear(module, "wo"))


def _has_position_biases(layer: nn.Module) -> bool:
    return any(getattr(each, "has_relative_attention_bias", False) for each in layer.modules())


register_layers(ResidualLayer(lambda _: False), *_names("Layer"))
register_layers(ResidualLayer(lambda _: True, _has_position_biases), _t5("Block"))
