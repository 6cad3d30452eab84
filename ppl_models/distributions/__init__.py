"""Distributions over whole images, and the families of one pixel that they are made of."""

from .autoregressive import Autoregressive
from .pixels import BernoulliPixels, CategoricalPixels, PixelFamily, pixel_family

__all__ = ["Autoregressive", "BernoulliPixels", "CategoricalPixels", "PixelFamily", "pixel_family"]
