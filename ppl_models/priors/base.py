"""What a prior is: a module whose call gives p(z)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyro.distributions.torch_distribution import TorchDistribution
from torch import nn


class Prior(nn.Module, ABC):
    """A distribution over latent vectors, possibly with parameters.

    Args:
        latent_dim: L, the length of z.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = int(latent_dim)

    def bind_guide(self, guide: nn.Module) -> None:
        """Told the guide that the prior's program is paired with; most priors do not care."""

    @abstractmethod
    def forward(self) -> TorchDistribution:
        """p(z): event shape (L,), batch shape ()."""
