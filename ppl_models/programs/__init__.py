"""Programs, one file each."""

from .autoencoder_density import AutoencoderDensity
from .autoregressive import AutoregressiveProgram
from .autoregressive_decoder import AutoregressiveDecoderProgram
from .conv_vae import ConvVAE
from .decoder import DecoderProgram, PriorProgram
from .discrete_vae import DiscreteVAE
from .fvsbn import FVSBN
from .gated_pixel_cnn import GatedPixelCNN
from .independent import IndependentPixels
from .ladder_vae import LadderVAE
from .linear_vae import LinearVAE
from .lossy_vae import LossyVAE
from .made import MADE
from .nade import NADE
from .order_mixture import OrderMixture
from .pixel_cnn import PixelCNN
from .pixel_rnn import PixelRNN
from .pixel_transformer import PixelTransformer
from .pixel_vae import PixelVAE
from .recurrent_vae import RecurrentVAE
from .skip_vae import SkipVAE
from .vae import VAE

__all__ = [
    "FVSBN",
    "MADE",
    "NADE",
    "VAE",
    "AutoencoderDensity",
    "AutoregressiveDecoderProgram",
    "AutoregressiveProgram",
    "ConvVAE",
    "DecoderProgram",
    "DiscreteVAE",
    "GatedPixelCNN",
    "IndependentPixels",
    "LadderVAE",
    "LinearVAE",
    "LossyVAE",
    "OrderMixture",
    "PixelCNN",
    "PixelRNN",
    "PixelTransformer",
    "PixelVAE",
    "PriorProgram",
    "RecurrentVAE",
    "SkipVAE",
]
