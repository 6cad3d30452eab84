"""NADE: a perceptron per pixel that shares one running sum (Larochelle & Murray 2011; Uria et al. 2016, 1605.02226)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets.nade import NADENet
from ..ordering import Ordering
from .autoregressive import AutoregressiveProgram


class NADE(AutoregressiveProgram):
    """p(x_t | x_<t) from h_t = f(c + sum_{s<t} W_s x_s), scored in O(D h) for all t together.

    Args:
        data_dim: D, the number of pixels.
        hidden: widths of the hidden layers; the paper has one. Further layers are shared by all steps.
        nonlinearity: name of the activation; the paper's is the sigmoid.
        dropout: probability with which a hidden unit is silenced in training.
        ordering, levels, likelihood, shape: as ``AutoregressiveProgram``.
    """

    net: NADENet

    def __init__(
        self,
        data_dim: int,
        hidden: Sequence[int] = (500,),
        nonlinearity: str = "sigmoid",
        dropout: float = 0.0,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        outputs = self.family.num_parameters
        self.net = NADENet(self.ordering, hidden, outputs, nonlinearity, dropout, self.scale)
