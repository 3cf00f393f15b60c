"""Every test begins with the same random numbers; files are coded by the quick coders."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="module")
def quickly_coded(quick_coding):
    pass
