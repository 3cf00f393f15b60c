"""Structures of models of ``transformers``, known by their names: the package need not be installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import nn

from lightning_compress.training.structures.registry import ResidualLayer, describes, register_layers
from lightning_compress.training.structures.structure import Structure, attention_heads, feed_forward

_LIKE_BERT = (("bert", "Bert"), ("electra", "Electra"), ("roberta", "Roberta"), ("xlm_roberta", "XLMRoberta"))
_POST_NORM = (("bart", "Bart"), ("marian", "Marian"))
_PRE_NORM = (("mbart", "MBart"),)
_LIKE_BART = (*_POST_NORM, *_PRE_NORM)


def _names(models: Iterable[tuple[str, str]], *parts: str) -> list[str]:
    names = [(folder, f"{first}{part}") for folder, first in models for part in parts]
    return [f"transformers.models.{folder}.modeling_{folder}.{name}" for folder, name in names]


def _t5(part: str) -> str:
    return f"transformers.models.t5.modeling_t5.T5{part}"


def _distilbert(part: str) -> str:
    return f"transformers.models.distilbert.modeling_distilbert.{part}"


def _set(module: nn.Module, name: str, value: int) -> None:
    module.__dict__[name] = value


def _linear(module: nn.Module, name: str) -> nn.Linear:
    found = module.get_submodule(name)
    assert isinstance(found, nn.Linear)
    return found


@describes(*_names(_LIKE_BERT, "Attention"))
def bert_attention(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of an attention like that of BERT."""
    inner = module.get_submodule("self")

    def finish(left: int) -> None:
        _set(inner, "num_attention_heads", left)
        _set(inner, "all_head_size", left * size)

    heads = inner.num_attention_heads
    assert isinstance(heads, int)
    size = _linear(inner, "query").out_features // heads
    projections = {part: _linear(inner, part) for part in ("query", "key", "value")}
    yield attention_heads(name, heads, projections, _linear(module, "output.dense"), finish=finish)


@describes(*_names(_LIKE_BERT, "Layer"))
def bert_layer(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of the feed-forward part."""
    inner = [_linear(module, "intermediate.dense")]
    yield feed_forward(f"{name}.intermediate", inner, _linear(module, "output.dense"))


@describes(*_names(_LIKE_BART, "Attention"))
def bart_attention(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of an attention like that of BART."""
    heads = module.num_heads
    assert isinstance(heads, int)
    projections = {part: _linear(module, part) for part in ("q_proj", "k_proj", "v_proj")}
    yield attention_heads(
        name, heads, projections, _linear(module, "out_proj"), finish=lambda left: _set(module, "num_heads", left)
    )


@describes(*_names(_LIKE_BART, "EncoderLayer", "DecoderLayer"))
def bart_layer(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of the feed-forward part."""
    yield feed_forward(f"{name}.fc1", [_linear(module, "fc1")], _linear(module, "fc2"))


@describes(_distilbert("DistilBertSelfAttention"))
def distilbert_attention(module: nn.Module, name: str) -> Iterator[Structure]:
    """The heads of DistilBERT."""
    heads = module.n_heads
    assert isinstance(heads, int)
    projections = {part: _linear(module, part) for part in ("q_lin", "k_lin", "v_lin")}
    yield attention_heads(
        name, heads, projections, _linear(module, "out_lin"), finish=lambda left: _set(module, "n_heads", left)
    )


@describes(_distilbert("FFN"))
def distilbert_feed_forward(module: nn.Module, name: str) -> Iterator[Structure]:
    """The neurons of DistilBERT."""
    yield feed_forward(name, [_linear(module, "lin1")], _linear(module, "lin2"))


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


register_layers(ResidualLayer(lambda _: False), *_names(_LIKE_BERT, "Layer"), _distilbert("TransformerBlock"))
register_layers(ResidualLayer(lambda _: False), *_names(_POST_NORM, "EncoderLayer", "DecoderLayer"))
register_layers(ResidualLayer(lambda _: True), *_names(_PRE_NORM, "EncoderLayer", "DecoderLayer"))
register_layers(ResidualLayer(lambda _: True, _has_position_biases), _t5("Block"))
