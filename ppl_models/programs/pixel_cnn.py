"""PixelCNN: conditionals from masked convolutions (van den Oord et al. 2016, 1601.06759)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import PixelCNNNet
from ..ordering import Ordering
from .autoregressive import AutoregressiveProgram


class PixelCNN(AutoregressiveProgram):
    """p(x_t | x_<t) from residual blocks of masked convolutions.

    In raster order it has a blind spot to the upper right.

    Args:
        data_dim: D, the number of pixels.
        channels: of the features.
        depth: number of residual blocks; 0 leaves one window.
        kernel, first_kernel: widths of the windows of the convolutions, odd.
        dropout: in the residual blocks.
        position: give every place a learned bias.
        ordering, levels, likelihood, shape: as ``AutoregressiveProgram``.

    Raises:
        InvalidInput: as ``PixelCNNNet``.
    """

    net: PixelCNNNet

    def __init__(
        self,
        data_dim: int,
        channels: int = 32,
        depth: int = 4,
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
        self.net = PixelCNNNet(
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
