"""The losses are those of their definitions, and what does not fit is refused with what to change."""

from __future__ import annotations

import pytest
import torch
from each_case import naming

from lightning_compress.errors import TrainingError
from lightning_compress.training import (
    attention_map,
    attention_map_loss,
    attention_transfer_loss,
    hidden_state_loss,
    normalized_state_loss,
)

LOSSES = (hidden_state_loss, normalized_state_loss, attention_map_loss, attention_transfer_loss)


def features(seed, shape=(2, 3, 4, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_every_loss_keeps_the_contract():
    for loss in LOSSES:
        with naming(loss):
            student, teacher = features(0).requires_grad_(), features(1)
            value = loss(student, teacher)
            value.backward()
            assert value.shape == ()
            assert value > 0
            assert student.grad.isfinite().all()
            assert student.grad.abs().sum() > 0
            assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
            assert loss(torch.zeros_like(teacher), torch.zeros_like(teacher)).isfinite()
            with pytest.raises(TrainingError, match=r"student are \[2.* teacher \[2.*: (match|name)"):
                loss(features(0), features(1, (2, 3, 4, 6)))


def test_losses_are_those_of_their_papers():
    student, teacher = features(0), features(1)
    first, second = (each / each.norm(dim=-1, keepdim=True) for each in (student, teacher))
    expected = torch.stack([(first - second).square().sum(-1)]).mean()
    torch.testing.assert_close(normalized_state_loss(student, teacher), expected)
    assert normalized_state_loss(3 * teacher, teacher).item() == pytest.approx(0, abs=1e-6)

    expected = torch.nn.functional.mse_loss(student, teacher) / teacher.pow(2).mean()
    torch.testing.assert_close(attention_map_loss(student, teacher), expected)

    first, second = (each.pow(2).sum(1).reshape(2, -1) for each in (student, teacher))
    distance = first / first.norm(dim=1, keepdim=True) - second / second.norm(dim=1, keepdim=True)
    torch.testing.assert_close(attention_transfer_loss(student, teacher), distance.norm(dim=1).pow(2).mean())


def test_transfer_takes_any_number_of_heads():
    repeated = torch.cat([features(1), features(1)], 1)
    assert attention_transfer_loss(repeated, features(1)).item() == pytest.approx(0, abs=1e-6)
    with pytest.raises(TrainingError, match="attention_loss='transfer'"):
        attention_map_loss(repeated, features(1))
    with pytest.raises(TrainingError, match="name convolutions or attentions"):
        attention_transfer_loss(features(0, (2, 3)), features(1, (2, 3)))


def test_an_output_without_map_is_refused():
    assert attention_map((features(0, (2, 3)), features(1))).shape == (2, 3, 4, 5)
    for output in (features(0, (2, 3)), (features(0), None), None):
        with naming(output), pytest.raises(TrainingError, match="attn_implementation='eager'"):
            attention_map(output)
