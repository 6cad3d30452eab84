"""Distributions over whole images, and the families of one pixel that they are made of."""

from .autoregressive import Autoregressive
from .binary_code import BinaryCode
from .black_and_white import IndependentBernoulli
from .families import pixel_family
from .logistic import DiscretizedLogisticMixture
from .mixture import MixtureOfOrders
from .pixels import BernoulliPixels, CategoricalPixels, LogisticPixels, PixelFamily, to_unit
from .precision import at_least_float32, full_precision
from .real_pixels import GaussianPixels
from .scales import to_scale

__all__ = [
    "Autoregressive",
    "BernoulliPixels",
    "BinaryCode",
    "CategoricalPixels",
    "DiscretizedLogisticMixture",
    "GaussianPixels",
    "IndependentBernoulli",
    "LogisticPixels",
    "MixtureOfOrders",
    "PixelFamily",
    "at_least_float32",
    "full_precision",
    "pixel_family",
    "to_scale",
    "to_unit",
]
