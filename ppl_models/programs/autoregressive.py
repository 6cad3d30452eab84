"""What every autoregressive program shares: an ordering, the family of one pixel, and a net that gives the density."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import Autoregressive, PixelFamily, pixel_family
from ..nets import AutoregressiveNet
from ..ordering import Ordering, as_ordering, image_shape
from ..program import TractableProgram


class AutoregressiveProgram(TractableProgram):
    """p(x) = prod_t p(x_t | x_<t) by one net. A subclass sets ``net``.

    Args:
        data_dim: D, the number of pixels.
        ordering: order of generation: a name (``"raster"``, ``"random:7"``), pixel indices, or an ``Ordering``.
        levels: number of values of a pixel.
        likelihood: the family of one pixel: ``"auto"``, ``"bernoulli"``, ``"categorical"`` or ``"logistic:K"``, see
            ``pixel_family``.
        shape: (C, H, W), for orderings and nets that know of rows and columns; a square if D is one, else a row.

    The ordering is saved with the weights, so that a loaded program scores as the saved one did.
    """

    net: AutoregressiveNet

    def __init__(
        self,
        data_dim: int,
        *,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, levels=levels)
        self.shape = image_shape(data_dim, shape)
        self.ordering = as_ordering(ordering, data_dim, self.shape)
        self.family: PixelFamily = pixel_family(levels, likelihood)
        self.measure = self.family.measure

    @property
    def scale(self) -> float:
        """What brings pixel values to [0, 1] on their way into the net; 1 for real values."""
        return 1 / (self.levels - 1) if self.levels > 1 else 1.0

    def distribution(self) -> TorchDistribution:
        """The ``Autoregressive`` distribution of one image: event shape (D,)."""
        return Autoregressive(self.net, self.family, self.ordering, like=next(self.parameters()))

    def get_extra_state(self) -> Tensor:
        """The ordering, saved beside what was made from it."""
        return torch.tensor(self.ordering.sequence)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the ordering that belongs to the weights being loaded."""
        self.ordering = Ordering(tuple(state.tolist()))
        self.net.reorder(self.ordering)
