"""Multilayer perceptrons, and the activation functions a recipe can name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import InvalidInput, nearest

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
}


def activation(name: str) -> nn.Module:
    """A fresh activation module by name.

    Raises:
        InvalidInput: for an unknown name.
    """
    if name not in ACTIVATIONS:
        raise InvalidInput("nonlinearity", name, "unknown", nearest(name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def check_dropout(dropout: float) -> float:
    """The probability with which a unit is silenced in training, if it is one below 1.

    Raises:
        InvalidInput: outside [0, 1).
    """
    if not 0 <= dropout < 1:
        raise InvalidInput("dropout", dropout, "is no probability below 1", "write for example 0.2")
    return dropout


def check_widths(argument: str, widths: Sequence[int]) -> tuple[int, ...]:
    """Layer widths as a tuple of positive integers; an empty one means no hidden layer.

    Raises:
        InvalidInput: for a width below 1.
    """
    if not isinstance(widths, Sequence) or isinstance(widths, str):
        raise InvalidInput(argument, widths, "is no list of widths", "write for example [500]")
    widths = tuple(int(width) for width in widths)
    if any(width < 1 for width in widths):
        raise InvalidInput(argument, list(widths), "a layer needs at least one unit", "write for example [500]")
    return widths


def mlp(in_features: int, hidden: Sequence[int], out_features: int, nonlinearity: str = "relu") -> nn.Sequential:
    """Affine layers with an activation between them: (..., in_features) -> (..., out_features).

    Args:
        in_features: size of the last dimension of the input.
        hidden: widths of the hidden layers; empty for one affine map.
        out_features: size of the last dimension of the output, which has no activation.
        nonlinearity: name of the activation, see ``ACTIVATIONS``.

    Raises:
        InvalidInput: for a width below 1 or an unknown activation.
    """
    widths = (in_features, *check_widths("hidden", hidden), out_features)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation(nonlinearity)]
    return nn.Sequential(*layers[:-1])


class SkipMLP(nn.Module):
    """A perceptron whose input enters every layer: h_{l+1} = a(W_l h_l + U_l z), (..., in_features) -> (...,
    out_features); arguments and errors as ``mlp``."""

    def __init__(self, in_features: int, hidden: Sequence[int], out_features: int, nonlinearity: str = "relu") -> None:
        super().__init__()
        widths = (*check_widths("hidden", hidden), out_features)
        self.layers = nn.ModuleList([nn.Linear(in_features, widths[0])])
        self.layers.extend(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths))
        self.skips = nn.ModuleList(nn.Linear(in_features, width, bias=False) for width in widths[1:])
        self.activation = activation(nonlinearity)

    def forward(self, z: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        h = self.layers[0](z)
        for layer, skip in zip(self.layers[1:], self.skips, strict=True):
            h = layer(self.activation(h)) + skip(z)
        return h


@torch.no_grad()
def glorot(*modules: nn.Module) -> None:
    """Start the affine layers of these modules with uniform weights of variance 2 / (inputs + outputs) and no bias
    (Glorot & Bengio 2010), by which a signal passes through layers of tanh at about its size.

    Torch's own start, of variance 1 / (3 inputs), makes it smaller by 1.7 at each: codes of different images then lie
    together, by a twentieth of a standard deviation of the guide.
    """
    for layer in (layer for module in modules for layer in module.modules()):
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
