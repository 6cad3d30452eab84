"""Priors over discrete codes without dependencies: independent bits, and one category of many."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32
from ..distributions.binary_code import BinaryCode
from .base import Prior


class _FromLogits(Prior):
    """A prior given by L logits, zero before training: the uniform distribution.

    Args:
        latent_dim: L.
        uniform: keep it uniform: the logits are constants and not saved.
    """

    logits: Tensor

    def __init__(self, latent_dim: int, uniform: bool = False) -> None:
        super().__init__(latent_dim)
        if uniform:
            self.register_buffer("logits", torch.zeros(self.latent_dim), persistent=False)
        else:
            self.logits = nn.Parameter(torch.zeros(self.latent_dim))


class Bits(_FromLogits):
    """p(z) = prod_l Bernoulli(z_l; sigmoid(b_l)) over codes of L bits, the top of a sigmoid belief network (Neal 1992).

    Args:
        latent_dim: L, the number of bits.
        uniform: keep every bit at 1/2 instead of learning its log-odds b_l.
    """

    kind = "binary"

    def forward(self) -> TorchDistribution:
        """``BinaryCode``: event shape (L,), values 0 and 1."""
        return BinaryCode(self.logits)


class OneHot(_FromLogits):
    """p(z) = softmax(b)_l where z is the l-th of L unit vectors: the weights of a mixture model.

    Args:
        latent_dim: L, the number of categories.
        uniform: keep every category at 1/L instead of learning the logits b.
    """

    kind = "one-hot"

    def forward(self) -> TorchDistribution:
        """``OneHotCategorical``: event shape (L,)."""
        return dist.OneHotCategorical(logits=at_least_float32(self.logits))
