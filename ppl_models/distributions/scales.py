"""From a net's output to a positive scale."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

# softplus(0 + UNIT) = 1: a net that outputs zeros gives scales of one.
UNIT = math.log(math.e - 1)
SMALLEST_SCALE = 1e-5


def to_scale(raw: Tensor) -> Tensor:
    """softplus(raw + log(e - 1)) + 1e-5: positive, and 1 at 0."""
    return functional.softplus(raw + UNIT) + SMALLEST_SCALE
