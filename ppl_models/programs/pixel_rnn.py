"""PixelRNN: a recurrence over the pixels in the order of generation (Elman 1990; van den Oord et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import PixelRNNNet
from ..ordering import Ordering
from .autoregressive import AutoregressiveProgram


class PixelRNN(AutoregressiveProgram):
    """p(x_t | x_<t) from h_t = cell(h_{t-1}, x_{t-1}, ...): the past in a state of fixed size.

    The bare recurrence of Elman's network is ``cell="tanh", above=False, position=False``. The row and diagonal LSTMs
    of van den Oord et al. (1601.06759) are other architectures and not here.

    Args:
        data_dim: D, the number of pixels.
        hidden: width of the state.
        depth: number of recurrent layers.
        cell: ``"tanh"``, ``"gru"`` or ``"lstm"``; the initial state is learned.
        above: show each step the earlier ones of the pixels above, above left, above right and left of its place.
        position: show each step a learned vector of its place.
        dropout: on the states that are read and between layers.
        ordering, levels, likelihood, shape: as ``AutoregressiveProgram``.

    Raises:
        InvalidInput: as ``PixelRNNNet``.
    """

    net: PixelRNNNet

    def __init__(
        self,
        data_dim: int,
        hidden: int = 128,
        depth: int = 1,
        cell: str = "gru",
        above: bool = True,
        position: bool = True,
        dropout: float = 0.0,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        self.net = PixelRNNNet(
            self.ordering,
            self.shape,
            hidden=hidden,
            depth=depth,
            cell=cell,
            above=above,
            position=position,
            dropout=dropout,
            outputs=self.family.num_parameters,
            scale=self.scale,
        )
