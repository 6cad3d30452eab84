"""Encoders by name: what reads the parameters of a posterior off an image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..errors import InvalidInput, nearest
from .images import ConvEncoder, RowEncoder
from .mlp import mlp

ENCODERS = ("mlp", "conv", "recurrent")


def make_encoder(
    kind: str,
    data_dim: int,
    hidden: Sequence[int],
    outputs: int,
    nonlinearity: str = "tanh",
    shape: Sequence[int] | None = None,
) -> nn.Module:
    """A net from images on [0, 1] to P numbers: (..., D) -> (..., P).

    Args:
        kind: ``"mlp"``, ``"conv"`` (``hidden`` are the channels of its stages) or ``"recurrent"`` (over rows).
        data_dim: D.
        hidden: widths.
        outputs: P.
        nonlinearity: name of the activation.
        shape: (C, H, W); the last two kinds need it.

    Raises:
        InvalidInput: for an unknown kind, or no shape where it is needed.
    """
    if kind not in ENCODERS:
        raise InvalidInput("encoder", kind, "unknown encoder", nearest(kind, ENCODERS))
    if kind == "mlp":
        return mlp(data_dim, hidden, outputs, nonlinearity)
    if shape is None:
        raise InvalidInput("shape", shape, f"a {kind} encoder reads rows and columns", "give (C, H, W)")
    if kind == "conv":
        return ConvEncoder(shape, hidden, outputs, nonlinearity)
    return RowEncoder(shape, hidden, outputs)
