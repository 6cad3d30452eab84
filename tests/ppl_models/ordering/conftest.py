"""Binary images whose orders differ in what they cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

Images = Callable[..., Tensor]


def some_images(num: int, data_dim: int, seed: int = 0) -> Tensor:
    """Every pixel is the parity or the maximum of two before it, with noise: orders differ in what they cost."""
    rng = np.random.default_rng(seed)
    x = (rng.random((num, data_dim)) < rng.uniform(0.2, 0.8, data_dim)).astype(int)
    for i in range(2, data_dim):
        some = rng.choice(i, 2, replace=False)
        value = x[:, some].sum(1) % 2 if i % 2 else x[:, some].max(1)
        x[:, i] = np.where(rng.random(num) < 0.85, value, x[:, i])
    return torch.tensor(x[:, rng.permutation(data_dim)]).float()


@pytest.fixture(scope="session")
def images() -> Images:
    """``images(num, data_dim, seed=0)``: (num, data_dim)."""
    return some_images
