"""Networks: functions from tensors to parameters. They know nothing of probability."""

from .autoregressive import AutoregressiveNet, Cache
from .made import CYCLES, AutoregressiveMLP, Structure, random_structure
from .masked import MaskedLinear, MaskedMLP
from .mlp import ACTIVATIONS, activation, mlp

__all__ = [
    "ACTIVATIONS",
    "CYCLES",
    "AutoregressiveMLP",
    "AutoregressiveNet",
    "Cache",
    "MaskedLinear",
    "MaskedMLP",
    "Structure",
    "activation",
    "mlp",
    "random_structure",
]
