"""Guides of discrete latents: independent bits, and one category of many. Their draws have no gradient, so that the
bound is enumerated (``trace-enum``) or its gradient estimated by the score function (``elbo``)."""

from __future__ import annotations

import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import at_least_float32
from ..distributions.binary_code import BinaryCode
from .amortized import AmortizedGuide


class IndependentBernoulli(AmortizedGuide):
    """q(z | x) = prod_l Bernoulli(z_l; sigmoid(f(x)_l)), z in {0, 1}^L: the factorial guide of the Helmholtz machine
    (Dayan, Hinton, Neal & Zemel 1995) and of NVIL (Mnih & Gregor 2014, 1402.0030). Arguments as ``AmortizedGuide``.

    Up to 12 bits can be enumerated.
    """

    def num_parameters(self) -> int:
        """L log-odds."""
        return self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """``BinaryCode(logits)``: (..., L) -> event shape (L,)."""
        return BinaryCode(parameters)


class OneHotCategorical(AmortizedGuide):
    """q(z | x) = Categorical(softmax f(x)) over the L unit vectors. Arguments as ``AmortizedGuide``.

    The true posterior of a program with one category per image is in this family, so that the bound can be tight.
    """

    def num_parameters(self) -> int:
        """L logits."""
        return self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """``OneHotCategorical(logits)``: (..., L) -> event shape (L,)."""
        return dist.OneHotCategorical(logits=at_least_float32(parameters))
