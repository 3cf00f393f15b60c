"""Parts of modules that can go as a whole: how they are found, and how they are removed.

``structure`` says what a unit is, ``registry`` finds them by the types of modules, ``torch_modules``, ``chains`` and
``transformers_modules`` describe types, ``shrinking`` removes units, and ``smaller_attention`` and ``smaller_lstm`` are
the modules that can lose some.
"""

from lightning_compress.training.structures import chains as _chains
from lightning_compress.training.structures import torch_modules as _torch_modules
from lightning_compress.training.structures import transformers_modules as _transformers_modules
from lightning_compress.training.structures.chains import chain
from lightning_compress.training.structures.registry import (
    ResidualLayer,
    check_found,
    describes,
    register_layers,
    structures_of,
)
from lightning_compress.training.structures.shrinking import drop_layers, shrink, shrink_to
from lightning_compress.training.structures.skipping import LayerSkips
from lightning_compress.training.structures.structure import (
    Kind,
    Slices,
    Structure,
    attention_heads,
    feed_forward,
    linear_columns,
    linear_rows,
    rows,
)
from lightning_compress.training.structures.torch_modules import lstm_units

_DESCRIBED = (_chains, _torch_modules, _transformers_modules)  # imported, so that the registry knows their types

__all__ = [
    "Kind",
    "LayerSkips",
    "ResidualLayer",
    "Slices",
    "Structure",
    "attention_heads",
    "chain",
    "check_found",
    "describes",
    "drop_layers",
    "feed_forward",
    "linear_columns",
    "linear_rows",
    "lstm_units",
    "register_layers",
    "rows",
    "shrink",
    "shrink_to",
    "structures_of",
]
