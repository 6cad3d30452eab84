"""An autoregressive prior over binary codes (deep autoregressive networks: Gregor et al. 2014, 1310.8499; the net:
Germain et al. 2015, 1502.03509)."""

from __future__ import annotations

from collections.abc import Sequence

from pyro.distributions.torch_distribution import TorchDistribution

from ..distributions import Autoregressive, BernoulliPixels
from ..nets import AutoregressiveMLP
from ..ordering import Ordering
from .base import Prior


class AutoregressivePrior(Prior):
    """p(z) = prod_l p(z_l | z_<l) over codes of L bits, the conditionals from one masked perceptron.

    A probability costs one pass of the net.

    Args:
        latent_dim: L, the number of bits.
        hidden: widths of the net's hidden layers; empty for logistic regressions.
        direct: add a masked linear link from each bit to the later ones.
        nonlinearity: name of the activation.

    Raises:
        InvalidInput: for a width below 1, or an unknown activation.
    """

    kind = "binary"

    def __init__(
        self, latent_dim: int, hidden: Sequence[int] = (64,), direct: bool = True, nonlinearity: str = "relu"
    ) -> None:
        super().__init__(latent_dim)
        self.ordering = Ordering(tuple(range(self.latent_dim)))
        self.net = AutoregressiveMLP(self.ordering, hidden, 1, direct, nonlinearity)

    def forward(self) -> TorchDistribution:
        """``Autoregressive``: event shape (L,), values 0 and 1."""
        return Autoregressive(self.net, BernoulliPixels(), self.ordering, like=next(self.net.parameters()))
