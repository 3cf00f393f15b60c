"""Losses of distillation: outputs, hidden states and attention maps of a student against those of a teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lightning_compress.errors import TrainingError

_LEAST = 1e-12  # divisors are at least this
_MAP_DIMENSIONS = 4  # batch, heads, queries, keys


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """T² · KL(teacher ‖ student) of the distributions at temperature T, the mean over positions, in nats.

    G. Hinton, O. Vinyals and J. Dean 2015, "Distilling the Knowledge in a Neural Network", section 2: T² keeps the
    gradient as large as that of a loss on hard targets.

    Args:
        student: ``[…, classes]`` scores.
        teacher: of the same shape.
        temperature: T, positive.
        mask: ``[…]``, bool: the positions that count, such as those that are no padding; None for all.

    Raises:
        TrainingError: the shapes differ.
    """
    _check_shapes("scores", student, teacher, "match outputs of equal width and length")
    if mask is not None:
        student, teacher = student[mask], teacher[mask]
    rows, columns = -1, student.shape[-1]
    first, second = ((part / temperature).log_softmax(-1).reshape(rows, columns) for part in (student, teacher))
    return temperature**2 * F.kl_div(first, second, log_target=True, reduction="batchmean")


def hidden_state_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of two hidden states, over the mean square of the teacher's.

    A. Romero et al. 2015, "FitNets", section 2.2; X. Jiao et al. 2020, "TinyBERT", section 3.1, equation 8.

    Raises:
        TrainingError: the shapes differ.
    """
    _check_shapes("hidden states", student, teacher, "match modules of equal width and length")
    return _relative_error(student, teacher)


def normalized_state_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two hidden states of length 1, the mean over positions; 0 to 4.

    S. Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression", section 3.2, equation 7; there of
    the first position, here of all.

    Args:
        student: ``[…, width]``.
        teacher: of the same shape.

    Raises:
        TrainingError: the shapes differ.
    """
    _check_shapes("hidden states", student, teacher, "match modules of equal width and length")
    first, second = (F.normalize(part, dim=-1, eps=_LEAST) for part in (student, teacher))
    return (first - second).square().sum(-1).mean()


def attention_map_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of the attention maps, over the mean square of the teacher's.

    X. Jiao et al. 2020, "TinyBERT", section 3.1, equation 7, of the maps after the softmax.

    Args:
        student: ``[batch, heads, queries, keys]``.
        teacher: of the same shape.

    Raises:
        TrainingError: the shapes differ, or are no maps.
    """
    if student.dim() != _MAP_DIMENSIONS:
        raise TrainingError(
            f"the attention map of the student is {list(student.shape)}, expected [batch, heads, queries, keys]: name "
            "the module that computes the attention"
        )
    advice = "match attentions with as many heads, or take attention_loss='transfer', which sums over the heads"
    _check_shapes("attention maps", student, teacher, advice)
    return _relative_error(student, teacher)


def attention_transfer_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of where both have large values: of the sums of squares over channels or heads, at length 1.

    S. Zagoruyko and N. Komodakis 2017, "Paying More Attention to Attention", section 3.1, equations 1 and 2 with p = 2.

    Args:
        student: ``[batch, channels, …]``, features of a convolution; or ``[batch, heads, queries, keys]``, maps.
        teacher: of the same shape, with any number of channels or heads.

    Raises:
        TrainingError: the shapes differ in another dimension, or there is no dimension after the channels.
    """
    if student.dim() < 3 or student.dim() != teacher.dim():
        raise TrainingError(
            f"the features of the student are {list(student.shape)} and those of the teacher {list(teacher.shape)}, "
            "expected [batch, channels, …] or [batch, heads, queries, keys]: name convolutions or attentions"
        )
    first, second = (part.square().sum(1).flatten(1) for part in (student, teacher))
    advice = "match modules whose features have the same height and width, or whose maps have the same lengths"
    _check_shapes("features without their channels", first, second, advice)
    first, second = (F.normalize(part, dim=-1, eps=_LEAST) for part in (first, second))
    return (first - second).square().sum(-1).mean()


def _relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean() / teacher.square().mean().clamp_min(_LEAST)


def _check_shapes(what: str, student: Tensor, teacher: Tensor, advice: str) -> None:
    if student.shape != teacher.shape:
        raise TrainingError(
            f"the {what} of the student are {list(student.shape)} and those of the teacher {list(teacher.shape)}: "
            f"{advice}"
        )
