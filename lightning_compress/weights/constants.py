"""Which floating-point tensors are constants or statistics rather than trained weights, and are therefore kept exactly.

A module says it: its buffers are constants, its trained parameters are weights. A bare state dict does not; then names
that are in common use and values that no trained weight has decide. Frozen parameters are weights (a backbone), except
those whose name or values show a constant.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_compress.weights.names import is_observer_state, strip_wrappers
from lightning_compress.weights.values.flat_values import chunks

Role = Literal["parameter", "frozen", "buffer", "unknown"]

BUFFER = "buffer"
SINGLE_NUMBER = "single number"
CLASS_WEIGHTS = "known constant: class weights"
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MIN_TABLE = 8  # values or rows; a random order of eight values rises or falls once in 20,160 cases
_FEW = 3  # values of a ternary matrix
_MAX_FEW = 127.0  # magnitude of whole numbers that are few
_MAX_SMALL = 65_536  # elements of a tensor whose name is not enough for a larger one
_ROWS = 32  # of a table that are examined

# The last part of a name, without underscores around it.
_CONSTANT = re.compile(
    r"running_(mean|var|std)"
    r"|(\w+_)?alphas?_(cumprod|bar)\w*|sqrt_(alphas?|betas?)\w*|(sqrt|log)_(one_minus|recip)\w*"
    r"|posterior_(variance|log_variance\w*|mean_coef\w*)|lvlb_weights"
    r"|(\w+_)?(inv_)?freqs?(_(cos|sin|cis))?|(cos|sin)(_(cached?|table))?"
    r"|position_ids|relative_(position_index|coords_table)|alibi(_slopes)?"
    r"|(hann_)?window|mel_(basis|filters)|filterbank|anchors|anchor_grid|strides"
)
_SMALL_CONSTANT = re.compile(
    r"((pixel|image|img|norm|normalize|data|features?|input|output|target|obs|state|action|x|y)_)?(mean|std|var)"
    r"|betas|alphas|timesteps|(log_)?sigmas|(min|max)_val|class_weights?|pos_weight|(log_)?priors?|cluster_size"
    r"|n_averaged|num_updates|(n_|num_|global_)?steps?|counts?|counter|iterations?|(ema_)?decay"
)
_ROTARY = re.compile(r"(^|_)(rotary|rope)(_|$)")
_SPECTRAL = re.compile(r"(^|\.)parametrizations\.\w+\.\d+\._[uv]$")
_LOSS = re.compile(r"^(loss|criterion|objective)(_|$)|_(loss|criterion)$")
_TABLE = re.compile(r"pe|(pos|position|positional)_(enc|encodings?|table)|sinusoid\w*")


def is_guess(name: str, reason: str) -> bool:
    """Whether a reason to keep a tensor exactly rests on its name or values, and could be wrong or cost space."""
    is_certain = reason in (BUFFER, SINGLE_NUMBER, CLASS_WEIGHTS)
    return not is_certain and not name.endswith(("running_mean", "running_var"))


def exact_reasons(
    tensors: Mapping[str, Tensor], *, module: nn.Module | None = None, aliases: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Name → why the tensor is kept exactly; weights are left out.

    Args:
        tensors: name → tensor, as in a state dict.
        module: the module they come from; without it, names and values decide.
        aliases: name of a tied tensor → the tensor it is a view of. A tensor is a weight if one of its names is.
    """
    role_of = _roles(module)
    names: dict[str, list[str]] = {}
    for name in tensors:
        names.setdefault((aliases or {}).get(name, name), []).append(name)
    reasons = {}
    for stored, known in names.items():
        role = min((role_of(name) for name in known), key=("parameter", "frozen", "unknown", "buffer").index)
        reason = exact_reason(stored, tensors[stored], role, tensors)
        if reason is not None:
            reasons[stored] = reason
    return reasons


def exact_reason(name: str, tensor: Tensor, role: Role = "unknown", siblings: Collection[str] = ()) -> str | None:
    """Why one tensor is kept exactly; None for a weight, and for a dtype that no lossy method takes.

    Args:
        name: its name in the state dict.
        tensor: its values.
        role: what the module says of it: a trained or frozen parameter, a buffer, or nothing.
        siblings: the names of all tensors of the state dict.
    """
    if tensor.dtype not in _FLOATS or not tensor.numel():
        return None
    if role == "buffer":
        return BUFFER
    if tensor.ndim == 0:
        return SINGLE_NUMBER
    if role == "parameter":
        return None
    values = tensor.detach()
    return _by_name(strip_wrappers(name), values, siblings) or _by_values(values)


def _roles(module: nn.Module | None) -> _Roles:
    if module is None:
        return _Roles({}, frozenset())
    parameters = module.named_parameters(remove_duplicate=False)
    buffers = module.named_buffers(remove_duplicate=False)
    return _Roles(
        {strip_wrappers(name): parameter.requires_grad for name, parameter in parameters},
        frozenset(strip_wrappers(name) for name, _ in buffers),
    )


class _Roles:
    """Name of a tensor → what a module says of it."""

    def __init__(self, trained: Mapping[str, bool], buffers: Collection[str]) -> None:
        self._trained, self._buffers = trained, buffers

    def __call__(self, name: str) -> Role:
        name = strip_wrappers(name)
        # torch.nn.utils.prune registers x_orig, the state dict to be stored has x.
        trained = self._trained.get(name, self._trained.get(f"{name}_orig"))
        if trained is not None:
            return "parameter" if trained else "frozen"
        return "buffer" if name in self._buffers else "unknown"


def _by_name(name: str, tensor: Tensor, siblings: Collection[str]) -> str | None:
    *owners, last = name.lower().split(".")
    last = last.strip("_")
    is_small = tensor.numel() <= _MAX_SMALL
    if (
        _CONSTANT.fullmatch(last)
        or (is_small and _SMALL_CONSTANT.fullmatch(last))
        or any(map(_ROTARY.search, owners))
        or is_observer_state(name)
        or _is_spectral(name, siblings)
        or (last == "temperature" and tensor.numel() == 1)
        or (last.endswith("mask") and _is_mask(tensor))
        or (_TABLE.fullmatch(last) and _is_unit_table(tensor))
    ):
        return f"known constant: {last}"
    if is_small and tensor.ndim == 1 and last == "weight" and owners and _LOSS.search(owners[-1]):
        return CLASS_WEIGHTS
    return None


def _is_spectral(name: str, siblings: Collection[str]) -> bool:
    """Whether the tensor is a singular vector that spectral normalization estimates."""
    base, suffix = name[:-2], name[-2:]
    old = suffix in ("_u", "_v") and {f"{base}_orig", f"{base}_u"} <= {strip_wrappers(each) for each in siblings}
    return old or bool(_SPECTRAL.search(name))


def _by_values(tensor: Tensor) -> str | None:
    if not any(tensor.stride()):  # one value, expanded to a shape that may be large
        return None
    if _is_monotone(tensor):
        return "monotone table"
    if _is_sinusoidal(tensor):
        return "sinusoidal table"
    if _is_causal_mask(tensor):
        return "causal mask"
    return "whole numbers" if _holds_whole_numbers(tensor) else None


def _is_monotone(tensor: Tensor) -> bool:
    """Whether the values of a vector rise or fall from first to last, and enough of them differ."""
    vector = tensor.detach().squeeze()
    if vector.ndim != 1 or len(vector) < _MIN_TABLE:
        return False
    steps = vector.diff()
    rises, falls = bool((steps >= 0).all()), bool((steps <= 0).all())
    return (rises or falls) and int((steps != 0).sum()) + 1 >= _MIN_TABLE


def _is_sinusoidal(tensor: Tensor) -> bool:
    """Whether the rows of a table are pairs of a sine and a cosine, beside each other or half a row apart."""
    table = _rows_of(tensor)
    if table is None or table.shape[1] % 2 or len(table) < _MIN_TABLE or table.shape[1] < 4:
        return False
    squares = table.square()
    half = squares.shape[1] // 2
    beside, apart = squares[:, 0::2] + squares[:, 1::2], squares[:, :half] + squares[:, half:]
    is_padding = (squares == 0).all(1, keepdim=True)
    is_pair = any(bool((((sums - 1).abs() < 1e-2) | is_padding).all()) for sums in (beside, apart))
    return is_pair and len(torch.unique(table)) > 2 * _MIN_TABLE


def _is_unit_table(tensor: Tensor) -> bool:
    """Whether no value exceeds 1 and the largest reaches it, as sines and cosines do."""
    table = _rows_of(tensor)
    return table is not None and 0.99 <= float(table.abs().max()) <= 1


def _rows_of(tensor: Tensor) -> Tensor | None:
    """``[rows, columns]``, float32: the first rows of a matrix, whose other dimensions are 1; None for other shapes."""
    matrix = tensor.detach().squeeze()
    return matrix[:_ROWS].float() if matrix.ndim == 2 else None


def _is_causal_mask(tensor: Tensor) -> bool:
    """Whether a square matrix has one value up to its diagonal and another one above it."""
    matrix = tensor.detach().squeeze()
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < _MIN_TABLE:
        return False
    below, above = matrix[0, 0], matrix[0, -1]
    if bool(below == above) or not bool((matrix[0, 1:] == above).all()):
        return False
    return torch.equal(matrix, torch.where(torch.ones_like(matrix, dtype=torch.bool).tril(), below, above))


def _is_mask(tensor: Tensor) -> bool:
    """Whether a tensor has two values at most."""
    return len(torch.unique(tensor.detach())) <= 2


def _holds_whole_numbers(tensor: Tensor) -> bool:
    """Whether all values are whole numbers, and more or larger ones than those of a ternary matrix.

    Numbers beyond the precision of the type are always whole, and show nothing.
    """
    found: set[float] = set()
    largest = 2 / torch.finfo(tensor.dtype).eps
    for chunk in _growing(tensor):
        if not bool((chunk == chunk.round()).all()) or not bool((chunk.abs() <= largest).all()):
            return False
        if len(found) <= _FEW:
            found.update(torch.unique(chunk).tolist())
    return len(found) > _FEW or max(map(abs, found)) > _MAX_FEW


def _growing(tensor: Tensor) -> Iterable[Tensor]:
    """The first few values of a tensor, which tell nearly all weights, and then all of them in chunks."""
    yield from chunks(tensor.detach()[:1].reshape(-1)[:1024])
    yield from chunks(tensor)
