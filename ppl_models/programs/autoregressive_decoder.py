"""What the hybrids share: a latent vector, and pixels that depend on it and on the pixels before them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import Autoregressive
from ..nets import AutoregressiveNet, ConditionedNet
from ..ordering import Ordering, as_ordering, image_shape
from ..priors import Prior
from .decoder import PriorProgram


class AutoregressiveDecoderProgram(PriorProgram):
    """p(x, z) = p(z) prod_t p(x_t | x_<t, z). A subclass sets ``spread`` and ``net``.

    It is a latent program like any other, whose likelihood is an ``Autoregressive`` distribution. ``spread`` turns z
    into a context vector for every place, (..., L) -> (..., D * E), and ``net`` takes these beside the pixels.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        ordering: order of generation: a name, pixel indices, or an ``Ordering``.
        prior: p(z); standard normal unless given.
        levels: number of values of a pixel.
        likelihood: the family of one pixel, see ``pixel_family``.
        shape: (C, H, W); a square if D is one, else a row.

    The ordering is saved with the weights.
    """

    spread: nn.Module
    net: AutoregressiveNet

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        ordering: Ordering | str | Sequence[int] = "raster",
        prior: Prior | None = None,
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=likelihood)
        self.shape = image_shape(data_dim, shape)
        self.ordering = as_ordering(ordering, data_dim, self.shape)

    @property
    def scale(self) -> float:
        """What brings pixel values to [0, 1] on their way into the net; 1 for real values."""
        return 1 / (self.levels - 1) if self.levels > 1 else 1.0

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """p(x | z): z (..., L) -> batch shape (...), event shape (D,)."""
        conditioned = ConditionedNet(self.net, self.spread(z).unflatten(-1, (self.data_dim, -1)))
        return Autoregressive(
            conditioned, self.family, self.ordering, context_shape=z.shape[:-1], like=z, cache=conditioned.cache
        )

    def get_extra_state(self) -> Tensor:
        """The ordering, saved beside what was made from it."""
        return torch.tensor(self.ordering.sequence)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the ordering that belongs to the weights being loaded."""
        self.ordering = Ordering(tuple(state.tolist()))
        self.net.reorder(self.ordering)
