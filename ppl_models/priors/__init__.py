"""Priors p(z), one file each."""

from .base import Prior
from .standard_normal import StandardNormal

__all__ = ["Prior", "StandardNormal"]
