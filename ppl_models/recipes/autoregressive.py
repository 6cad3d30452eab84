"""Recipes of programs with an exact density: no latents and so no guide.

Their defaults are for digits, where each trains in under a minute on two cores; settings for 28x28 are in
``docs/settings.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..programs import (
    FVSBN,
    MADE,
    NADE,
    GatedPixelCNN,
    IndependentPixels,
    OrderMixture,
    PixelCNN,
    PixelRNN,
    PixelTransformer,
)
from .base import Pair


def independent_pixels(data_dim: int, *, levels: int = 2, likelihood: str = "auto") -> Pair:
    """Every pixel on its own: the baseline."""
    return IndependentPixels(data_dim, levels, likelihood), None


def fvsbn(
    data_dim: int,
    *,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Fully visible sigmoid belief net: a logistic regression per pixel."""
    return FVSBN(data_dim, ordering, levels, likelihood, shape), None


def nade(
    data_dim: int,
    *,
    hidden: Sequence[int] = (500,),
    nonlinearity: str = "sigmoid",
    dropout: float = 0.3,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """NADE (Larochelle & Murray 2011): a perceptron per pixel that shares one running sum."""
    return NADE(data_dim, hidden, nonlinearity, dropout, ordering, levels, likelihood, shape), None


def made(
    data_dim: int,
    *,
    hidden: Sequence[int] = (500,),
    direct: bool = True,
    ordering: str | Sequence[int] = "raster",
    nonlinearity: str = "relu",
    dropout: float = 0.3,
    cycle: str = "none",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """MADE (Germain et al. 2015): exact likelihood from one masked perceptron."""
    return MADE(data_dim, hidden, direct, ordering, nonlinearity, dropout, levels, likelihood, shape, cycle), None


def order_mixture(
    data_dim: int,
    *,
    num_components: int = 8,
    hidden: Sequence[int] = (500,),
    direct: bool = True,
    vary: str = "orders",
    fresh: bool = False,
    nonlinearity: str = "relu",
    dropout: float = 0.0,
    structure_seed: int = 0,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Mixture over orderings of one masked perceptron, each a MADE: exact by K passes."""
    own = (num_components, hidden, direct, vary, fresh, nonlinearity, dropout, structure_seed)
    return OrderMixture(data_dim, *own, ordering, levels, likelihood, shape), None


def pixel_rnn(
    data_dim: int,
    *,
    hidden: int = 128,
    depth: int = 1,
    cell: str = "gru",
    above: bool = True,
    position: bool = True,
    dropout: float = 0.0,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """A recurrence over the pixels in the order of generation."""
    return PixelRNN(data_dim, hidden, depth, cell, above, position, dropout, ordering, levels, likelihood, shape), None


def pixel_cnn(
    data_dim: int,
    *,
    channels: int = 32,
    depth: int = 4,
    kernel: int = 5,
    first_kernel: int = 7,
    dropout: float = 0.3,
    position: bool = True,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """PixelCNN (van den Oord et al. 2016): masked convolutions."""
    own = (channels, depth, kernel, first_kernel, dropout, position)
    return PixelCNN(data_dim, *own, ordering, levels, likelihood, shape), None


def gated_pixel_cnn(
    data_dim: int,
    *,
    channels: int = 32,
    depth: int = 4,
    kernel: int = 3,
    first_kernel: int = 7,
    dropout: float = 0.3,
    position: bool = True,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Gated PixelCNN (van den Oord et al. 2016): two stacks, no blind spot."""
    own = (channels, depth, kernel, first_kernel, dropout, position)
    return GatedPixelCNN(data_dim, *own, ordering, levels, likelihood, shape), None


def pixel_transformer(
    data_dim: int,
    *,
    width: int = 64,
    depth: int = 2,
    heads: int = 2,
    expansion: int = 4,
    kernel: int = 5,
    dropout: float = 0.1,
    ordering: str | Sequence[int] = "raster",
    levels: int = 2,
    likelihood: str = "auto",
    shape: Sequence[int] | None = None,
) -> Pair:
    """Causal attention over the pixels (Parmar et al. 2018)."""
    own = (width, depth, heads, expansion, kernel, dropout)
    return PixelTransformer(data_dim, *own, ordering, levels, likelihood, shape), None
