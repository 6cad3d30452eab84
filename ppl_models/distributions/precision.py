"""In what precision log-probabilities are computed, whatever the nets run in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(parameters: Tensor) -> Tensor:
    """Half-precision network outputs as float32: log-probabilities are never accumulated in less."""
    return parameters.to(torch.promote_types(parameters.dtype, torch.float32))


def full_precision(like: Tensor) -> torch.autocast:
    """A context without autocast on the device of ``like``: under it a product of float32 matrices is rounded to 8
    bits, and a log-density made of one comes out wrong by hundredths of a nat."""
    return torch.autocast(like.device.type, enabled=False)
