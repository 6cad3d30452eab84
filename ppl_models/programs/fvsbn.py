"""FVSBN: every pixel a logistic regression on the earlier ones (Neal 1992; Frey 1998; Gan et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import AutoregressiveMLP
from ..ordering import Ordering
from .autoregressive import AutoregressiveProgram


class FVSBN(AutoregressiveProgram):
    """Fully visible sigmoid belief net: p(x_t = 1 | x_<t) = sigmoid(b_t + sum_{s<t} W_ts x_s).

    It has no hidden units and so no depth. Its negative log-likelihood is convex, which makes it the yardstick for
    what nonlinear conditionals buy.

    Args:
        data_dim: D, the number of pixels.
        ordering, levels, likelihood, shape: as ``AutoregressiveProgram``; more levels give softmax regressions.
    """

    net: AutoregressiveMLP

    def __init__(
        self,
        data_dim: int,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        self.net = AutoregressiveMLP(self.ordering, (), self.family.num_parameters, scale=self.scale)
