"""PixelTransformer: conditionals by causal attention over the earlier pixels (Parmar et al. 2018, 1802.05751)."""

from __future__ import annotations

from collections.abc import Sequence

from ..nets import PixelTransformerNet
from ..ordering import Ordering
from .autoregressive import AutoregressiveProgram


class PixelTransformer(AutoregressiveProgram):
    """p(x_t | x_<t) from a transformer over the pixels in the order of generation.

    Args:
        data_dim: D, the number of pixels.
        width: of the features.
        depth: number of blocks.
        heads: of the attention; a divisor of ``width``.
        expansion: of the perceptron inside a block.
        kernel: width of the window around its place whose earlier pixels a token sees directly; 0 for none.
        dropout: of what each half block adds.
        ordering, levels, likelihood, shape: as ``AutoregressiveProgram``.

    Raises:
        InvalidInput: as ``PixelTransformerNet``.
    """

    net: PixelTransformerNet

    def __init__(
        self,
        data_dim: int,
        width: int = 64,
        depth: int = 3,
        heads: int = 4,
        expansion: int = 4,
        kernel: int = 3,
        dropout: float = 0.0,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        self.net = PixelTransformerNet(
            self.ordering,
            self.shape,
            width=width,
            depth=depth,
            heads=heads,
            expansion=expansion,
            kernel=kernel,
            dropout=dropout,
            outputs=self.family.num_parameters,
            scale=self.scale,
        )
