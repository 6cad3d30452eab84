"""Guides q(z | x), one file each."""

from .base import Guide, GuideProgram
from .diagonal_normal import DiagonalNormal

__all__ = ["DiagonalNormal", "Guide", "GuideProgram"]
