"""Programs, one file each."""

from .autoregressive import AutoregressiveProgram
from .fvsbn import FVSBN
from .gated_pixel_cnn import GatedPixelCNN
from .independent import IndependentPixels
from .made import MADE
from .nade import NADE
from .order_mixture import OrderMixture
from .pixel_cnn import PixelCNN
from .pixel_rnn import PixelRNN
from .pixel_transformer import PixelTransformer
from .vae import VAE

__all__ = [
    "FVSBN",
    "MADE",
    "NADE",
    "VAE",
    "AutoregressiveProgram",
    "GatedPixelCNN",
    "IndependentPixels",
    "OrderMixture",
    "PixelCNN",
    "PixelRNN",
    "PixelTransformer",
]
