"""Priors p(z), one file each."""

from .autoregressive import AutoregressivePrior
from .base import Prior
from .component_mixture import ComponentMixture
from .discrete import Bits, OneHot
from .flow import FlowPrior
from .mixture_of_normals import MixtureOfNormals
from .names import PRIORS, make_prior
from .standard_normal import StandardNormal
from .vamp import VampPrior

__all__ = [
    "PRIORS",
    "AutoregressivePrior",
    "Bits",
    "ComponentMixture",
    "FlowPrior",
    "MixtureOfNormals",
    "OneHot",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "make_prior",
]
