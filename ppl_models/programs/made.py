"""MADE: a perceptron masked so that its outputs are autoregressive conditionals (Germain et al. 2015, 1502.03509)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import Autoregressive, pixel_family
from ..nets import MaskedMLP
from ..ordering import Ordering, as_ordering
from ..program import TractableProgram


class MADE(TractableProgram):
    """p(x) = prod_t p(x_t | x_<t), all conditionals from one masked perceptron in one pass.

    Args:
        data_dim: D, the number of pixels.
        hidden: widths of the hidden layers; empty gives logistic conditionals.
        direct: add the paper's direct link from inputs to outputs.
        ordering: order of generation: a name (``"raster"``, ``"random:7"``), pixel indices, or an ``Ordering``.
        nonlinearity: name of the hidden activation.
        dropout: probability with which a hidden unit is silenced in training.
        levels: number of values of a pixel: 2 gives Bernoulli, more give categorical conditionals.

    The masks and the ordering are saved with the weights, so that a loaded program scores as the saved one did.
    """

    def __init__(
        self,
        data_dim: int,
        hidden: Sequence[int] = (500,),
        direct: bool = True,
        ordering: Ordering | str | Sequence[int] = "raster",
        nonlinearity: str = "relu",
        dropout: float = 0.0,
        levels: int = 2,
    ) -> None:
        super().__init__(data_dim, levels=levels)
        self.ordering = as_ordering(ordering, data_dim)
        self.family = pixel_family(levels)
        rank = torch.tensor(self.ordering.rank)
        adjacency = rank[None, :] < rank[:, None]
        self.net = MaskedMLP(adjacency, hidden, self.family.num_parameters, direct, nonlinearity, dropout)

    def distribution(self) -> TorchDistribution:
        """The ``Autoregressive`` distribution of one image: event shape (D,)."""
        return Autoregressive(
            lambda x: self.net(self._scaled(x)),
            self.family,
            self.ordering,
            like=self.net.layers[-1].bias,
            frozen=self._frozen,
        )

    def _scaled(self, x: Tensor) -> Tensor:
        """Grey levels enter the net scaled to [0, 1]."""
        return x / (self.levels - 1) if self.levels > 2 else x

    def _frozen(self) -> Callable[[Tensor], Tensor]:
        net = self.net.frozen()
        return lambda x: net(self._scaled(x))

    def get_extra_state(self) -> Tensor:
        """The ordering, saved beside the masks that were made from it."""
        return torch.tensor(self.ordering.sequence)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the ordering that belongs to the masks being loaded."""
        self.ordering = Ordering(tuple(state.tolist()))
