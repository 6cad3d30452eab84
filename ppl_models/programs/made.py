"""MADE: a perceptron masked so that its outputs are autoregressive conditionals (Germain et al. 2015, 1502.03509)."""

from __future__ import annotations

from collections.abc import Sequence

from pyro.distributions.torch_distribution import TorchDistribution

from ..distributions import Autoregressive
from ..errors import InvalidInput
from ..nets import AutoregressiveMLP, Structure
from ..ordering import Ordering, as_ordering
from .autoregressive import AutoregressiveProgram


class MADE(AutoregressiveProgram):
    """p(x) = prod_t p(x_t | x_<t), all conditionals from one masked perceptron in one pass.

    Args:
        data_dim: D, the number of pixels.
        hidden: widths of the hidden layers; empty gives logistic conditionals.
        direct: add the paper's direct link from inputs to outputs.
        ordering: order of generation: a name (``"raster"``, ``"random:7"``), pixel indices, or an ``Ordering``.
        nonlinearity: name of the hidden activation.
        dropout: probability with which a hidden unit is silenced in training.
        levels: number of values of a pixel.
        likelihood: the family of one pixel, see ``pixel_family``.
        shape: (C, H, W), for orderings that know of rows and columns.
        cycle: the paper's training with masks drawn anew at every update: ``"none"``, ``"masks"`` (degrees of the
            hidden units), or ``"orders"`` (degrees and ordering: order-agnostic training). The density that is
            reported is always that of the saved ordering and degrees; ``OrderMixture`` averages several.

    The masks and the ordering are saved with the weights, so that a loaded program scores as the saved one did.
    """

    net: AutoregressiveMLP

    def __init__(
        self,
        data_dim: int,
        hidden: Sequence[int] = (500,),
        direct: bool = True,
        ordering: Ordering | str | Sequence[int] = "raster",
        nonlinearity: str = "relu",
        dropout: float = 0.0,
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
        cycle: str = "none",
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        # Under one ordering what a unit sees never changes, and companion weights would only repeat its bias.
        self.net = AutoregressiveMLP(
            self.ordering,
            hidden,
            self.family.num_parameters,
            direct,
            nonlinearity,
            dropout,
            self.scale,
            cycle,
            companion=cycle != "none",
        )

    @property
    def order_agnostic(self) -> bool:
        """Whether the weights were trained under all orderings, so that ``reordered`` is as good as the saved one."""
        return self.net.cycle == "orders"

    def reordered(self, ordering: Ordering | str | Sequence[int]) -> TorchDistribution:
        """The density of the same weights under another ordering: a different p(x), exact as well.

        Raises:
            InvalidInput: unless training cycled the orderings.
        """
        if not self.order_agnostic:
            raise InvalidInput("ordering", str(ordering), "the weights know one ordering", 'train with cycle "orders"')
        order = as_ordering(ordering, self.data_dim, self.shape)
        net = self.net.under(Structure(order, self.net.structure().degrees))
        return Autoregressive(net, self.family, order, like=next(self.parameters()))
