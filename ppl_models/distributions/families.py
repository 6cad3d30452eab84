"""The family of one pixel by name."""

from __future__ import annotations

from ..errors import InvalidInput, nearest
from .pixels import COMPONENTS, BernoulliPixels, CategoricalPixels, LogisticPixels, PixelFamily
from .real_pixels import GaussianPixels

# Up to here "auto" gives every level a parameter of its own.
MAX_CATEGORICAL = 32


def pixel_family(levels: int, likelihood: str = "auto") -> PixelFamily:
    """The family of one pixel for images of so many levels.

    Args:
        levels: number of values of a pixel; 0 for real-valued ones.
        likelihood: ``"bernoulli"`` (2 levels), ``"categorical"``, ``"logistic:K"`` for a mixture of K discretized
            logistics (``"logistic"`` for 5), ``"gaussian"`` (a density, over real values), or ``"auto"``: Gaussian for
            real values, Bernoulli for 2 levels, categorical up to 32, and ``"logistic:5"`` beyond.

    Raises:
        InvalidInput: for 1 level, an unknown family, Bernoulli for more than 2 levels, a mass for real values, or
            K < 1.
    """
    if likelihood == "gaussian" or (levels == 0 and likelihood == "auto"):
        return GaussianPixels(levels)
    if levels == 0:
        raise InvalidInput("likelihood", likelihood, "pixels take real values, which have no masses", "use gaussian")
    if levels < 2:
        raise InvalidInput("levels", levels, "a pixel takes at least two values", "give 2 for binary, 256 for 8-bit")
    name, colon, count = str(likelihood).partition(":")
    if name == "auto" and not colon:
        name = "bernoulli" if levels == 2 else "categorical" if levels <= MAX_CATEGORICAL else "logistic"
    if name == "logistic":
        return LogisticPixels(levels, _components(likelihood, count) if colon else COMPONENTS)
    if colon or name not in ("bernoulli", "categorical"):
        known = ["auto", "bernoulli", "categorical", "gaussian", "logistic", "logistic:K"]
        raise InvalidInput("likelihood", likelihood, "unknown family of a pixel", nearest(str(likelihood), known))
    if name == "categorical":
        return CategoricalPixels(levels)
    if levels > 2:
        remedy = "use categorical or logistic:K, or binarize the images"
        raise InvalidInput("likelihood", likelihood, f"pixels take {levels} values", remedy)
    return BernoulliPixels()


def _components(likelihood: str, count: str) -> int:
    """K of ``"logistic:K"``."""
    if not count.isdecimal() or int(count) < 1:
        raise InvalidInput("likelihood", likelihood, "K counts components", "write for example logistic:5")
    return int(count)
