"""Distributions over whole images, and the families of one pixel that they are made of."""

from .autoregressive import Autoregressive
from .logistic import DiscretizedLogisticMixture
from .mixture import MixtureOfOrders
from .pixels import BernoulliPixels, CategoricalPixels, LogisticPixels, PixelFamily, pixel_family

__all__ = [
    "Autoregressive",
    "BernoulliPixels",
    "CategoricalPixels",
    "DiscretizedLogisticMixture",
    "LogisticPixels",
    "MixtureOfOrders",
    "PixelFamily",
    "pixel_family",
]
