"""What a prior is: a module whose call gives p(z)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pyro.distributions.torch_distribution import TorchDistribution
from torch import nn

from ..errors import InvalidInput


class Prior(nn.Module, ABC):
    """A distribution over latent vectors, possibly with parameters.

    Args:
        latent_dim: L, the length of z.

    Attributes:
        kind: what it is a distribution of: ``"continuous"`` latents, a ``"binary"`` code of L bits, or a ``"one-hot"``
            vector of length L.

    Raises:
        InvalidInput: for no latents.
    """

    kind: str = "continuous"
    needs_guide: bool = False

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim < 1:
            raise InvalidInput("latent_dim", latent_dim, "a prior is over latents", "give at least 1")
        self.latent_dim = int(latent_dim)

    def bind_guide(self, guide: nn.Module) -> None:
        """Told the guide that the prior's program is paired with; most priors do not care."""

    @abstractmethod
    def forward(self) -> TorchDistribution:
        """p(z): event shape (L,), batch shape ()."""


def check_components(components: int) -> int:
    """K, if a mixture can have as many.

    Raises:
        InvalidInput: for fewer than 1.
    """
    if components < 1:
        raise InvalidInput("components", components, "a mixture has components", "give at least 1")
    return int(components)
