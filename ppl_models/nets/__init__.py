"""Networks: functions from tensors to parameters. They know nothing of probability."""

from .attention import PixelTransformerNet
from .autoregressive import AutoregressiveNet, Cache, evaluating
from .conditioned import ConditionedNet
from .encoders import make_decoder, make_encoder
from .gated_pixel_cnn import GatedPixelCNNNet
from .images import ConvDecoder, ConvEncoder, RowDecoder, RowEncoder
from .made import CYCLES, AutoregressiveMLP, Structure, random_structure
from .masked import MaskedLinear, MaskedMLP
from .mlp import ACTIVATIONS, SkipMLP, activation, glorot, mlp
from .nade import NADENet
from .pixel_cnn import PixelCNNNet
from .recurrent import CELLS, PixelRNNNet

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "CYCLES",
    "AutoregressiveMLP",
    "AutoregressiveNet",
    "Cache",
    "ConditionedNet",
    "ConvDecoder",
    "ConvEncoder",
    "GatedPixelCNNNet",
    "MaskedLinear",
    "MaskedMLP",
    "NADENet",
    "PixelCNNNet",
    "PixelRNNNet",
    "PixelTransformerNet",
    "RowDecoder",
    "RowEncoder",
    "SkipMLP",
    "Structure",
    "activation",
    "evaluating",
    "glorot",
    "make_decoder",
    "make_encoder",
    "mlp",
    "random_structure",
]
