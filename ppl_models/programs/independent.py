"""Independent pixels: the baseline below which a generative model has learned nothing about how pixels go together."""

from __future__ import annotations

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import nn

from ..distributions import pixel_family
from ..program import TractableProgram


class IndependentPixels(TractableProgram):
    """p(x) = prod_i p(x_i), each pixel with its own distribution, free within the family.

    Args:
        data_dim: D, the number of pixels.
        levels: number of values of a pixel; 0 for real ones.
        likelihood: the family of one pixel, see ``pixel_family``. A Gaussian one has a density, of real pixels or grey.
    """

    def __init__(self, data_dim: int, levels: int = 2, likelihood: str = "auto") -> None:
        super().__init__(data_dim, levels=levels)
        self.family = pixel_family(levels, likelihood)
        self.measure = self.family.measure
        self.pixel_parameters = nn.Parameter(torch.zeros(data_dim, self.family.num_parameters))

    def distribution(self) -> TorchDistribution:
        """The product distribution: event shape (D,)."""
        return self.family.image_distribution(self.pixel_parameters)
