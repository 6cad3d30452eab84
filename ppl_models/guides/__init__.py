"""Guides q(z | x), one file each."""

from .amortized import AmortizedGuide
from .base import Guide, GuideProgram
from .diagonal_normal import DiagonalNormal

__all__ = ["AmortizedGuide", "DiagonalNormal", "Guide", "GuideProgram"]
