"""Programs, one file each."""

from .independent import IndependentPixels
from .made import MADE
from .vae import VAE

__all__ = ["MADE", "VAE", "IndependentPixels"]
