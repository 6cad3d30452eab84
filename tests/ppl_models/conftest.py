"""Truth by enumeration: every image of a small sample space."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture
def all_images() -> Callable[[int, int], Tensor]:
    """``all_images(D, levels)``: all levels^D images, (levels^D, D), float64."""

    def states(data_dim: int, levels: int = 2) -> Tensor:
        return torch.tensor(list(itertools.product(range(levels), repeat=data_dim)), dtype=torch.float64)

    return states
