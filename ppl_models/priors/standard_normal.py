"""The standard normal prior of Kingma & Welling (2014, 1312.6114)."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from .base import Prior


class StandardNormal(Prior):
    """p(z) = N(z; 0, I)."""

    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        # A buffer, so that the prior follows .to(device) and .double(); it is a constant, so it is not saved.
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> TorchDistribution:
        """N(0, I): event shape (L,)."""
        return dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
