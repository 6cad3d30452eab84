"""The autoregressive programs under test. A new one is one line here, which buys every test of its kind."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ppl_models.programs import (
    FVSBN,
    MADE,
    NADE,
    GatedPixelCNN,
    OrderMixture,
    PixelCNN,
    PixelRNN,
    PixelTransformer,
)
from ppl_models.programs.autoregressive import AutoregressiveProgram

SHAPE = (1, 2, 3)

# name -> options -> program over 2x3 pixels, unless ``data_dim`` and ``shape`` say otherwise
FAMILY: dict[str, Callable[..., AutoregressiveProgram]] = {
    "fvsbn": lambda data_dim=6, **o: FVSBN(data_dim, **{"shape": SHAPE, **o}),
    "nade": lambda data_dim=6, **o: NADE(data_dim, (7,), **{"shape": SHAPE, **o}),
    "deep nade": lambda data_dim=6, **o: NADE(data_dim, (3, 5), **{"shape": SHAPE, **o}),
    "made": lambda data_dim=6, **o: MADE(data_dim, (8, 9), True, **{"shape": SHAPE, **o}),
    "narrow made": lambda data_dim=6, **o: MADE(data_dim, (3,), False, **{"shape": SHAPE, **o}),
    "order-agnostic made": lambda data_dim=6, **o: MADE(data_dim, (8, 9), cycle="orders", **{"shape": SHAPE, **o}),
    "elman": lambda data_dim=6, **o: PixelRNN(data_dim, 5, 1, "tanh", False, False, **{"shape": SHAPE, **o}),
    "gru": lambda data_dim=6, **o: PixelRNN(data_dim, 5, 2, "gru", **{"shape": SHAPE, **o}),
    "lstm": lambda data_dim=6, **o: PixelRNN(data_dim, 5, 2, "lstm", **{"shape": SHAPE, **o}),
    "pixel cnn": lambda data_dim=6, **o: PixelCNN(data_dim, 4, 2, 3, 3, **{"shape": SHAPE, **o}),
    "window": lambda data_dim=6, **o: PixelCNN(data_dim, 4, 0, 3, 5, position=False, **{"shape": SHAPE, **o}),
    "gated pixel cnn": lambda data_dim=6, **o: GatedPixelCNN(data_dim, 4, 2, 3, 3, **{"shape": SHAPE, **o}),
    "transformer": lambda data_dim=6, **o: PixelTransformer(data_dim, 8, 2, 2, 2, 3, **{"shape": SHAPE, **o}),
    "pure transformer": lambda data_dim=6, **o: PixelTransformer(data_dim, 8, 1, 1, 2, 0, **{"shape": SHAPE, **o}),
}
MIXTURES: dict[str, Callable[..., OrderMixture]] = {
    # Where orderings are drawn there is none to give: the name of one is a seed of other draws.
    "orders": lambda data_dim=6, ordering="", **o: OrderMixture(
        data_dim, 4, (8, 9), structure_seed=len(ordering), **{"shape": SHAPE, **o}
    ),
    "masks": lambda data_dim=6, **o: OrderMixture(data_dim, 3, (8,), vary="masks", **{"shape": SHAPE, **o}),
    "saved orders": lambda data_dim=6, ordering="", **o: OrderMixture(
        data_dim, 2, (), fresh=False, structure_seed=len(ordering), **{"shape": SHAPE, **o}
    ),
}
# A cyclic shift and a random order are not their own inverses: with those, rank and sequence cannot be mixed up.
ORDERS = ["raster", "reversed", "shifted:2", "random:3"]


def lively(program: torch.nn.Module, scale: float = 1.0) -> torch.nn.Module:
    """Weights large enough that pixels depend on each other strongly, in float64 and evaluation mode."""
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, scale)
    return program.double().eval()
