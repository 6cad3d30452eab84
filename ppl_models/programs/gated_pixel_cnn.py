"""Gated PixelCNN: two stacks of gated convolutions and no blind spot (van den Oord et al. 2016, 1606.05328)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import GatedPixelCNNNet
from ..ordering import Ordering
from .autoregressive import AutoregressiveProgram


class GatedPixelCNN(AutoregressiveProgram):
    """p(x_t | x_<t) from a vertical stack over the rows above and a horizontal one over the row so far.

    Args:
        data_dim: D, the number of pixels.
        channels: of the features.
        depth: number of gated layers.
        kernel, first_kernel: widths of the windows of the convolutions, odd.
        dropout: on the horizontal stack.
        position: give every place a learned bias.
        ordering, levels, likelihood, shape: as ``AutoregressiveProgram``.

    Raises:
        InvalidInput: as ``GatedPixelCNNNet``.
    """

    net: GatedPixelCNNNet

    def __init__(
        self,
        data_dim: int,
        channels: int = 32,
        depth: int = 5,
        kernel: int = 3,
        first_kernel: int = 7,
        dropout: float = 0.0,
        position: bool = True,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        self.net = GatedPixelCNNNet(
            self.ordering,
            self.shape,
            channels=channels,
            depth=depth,
            kernel=kernel,
            first_kernel=first_kernel,
            dropout=dropout,
            position=position,
            outputs=self.family.num_parameters,
            scale=self.scale,
        )
