"""Programs, one file each."""

from .autoregressive import AutoregressiveProgram
from .fvsbn import FVSBN
from .independent import IndependentPixels
from .made import MADE
from .nade import NADE
from .vae import VAE

__all__ = ["FVSBN", "MADE", "NADE", "VAE", "AutoregressiveProgram", "IndependentPixels"]
