"""Networks: functions from tensors to parameters. They know nothing of probability."""

from .masked import MaskedLinear, MaskedMLP
from .mlp import ACTIVATIONS, activation, mlp

__all__ = ["ACTIVATIONS", "MaskedLinear", "MaskedMLP", "activation", "mlp"]
