"""Encoders and decoders by name: between images and latent vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..errors import InvalidInput, nearest
from .images import ConvDecoder, ConvEncoder, RowDecoder, RowEncoder
from .mlp import SkipMLP, mlp

KINDS = ("mlp", "conv", "recurrent")
DECODERS = ("mlp", "skip", "conv", "recurrent")


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
    check_kind("encoder", kind, shape)
    if kind == "mlp":
        return mlp(data_dim, hidden, outputs, nonlinearity)
    if kind == "conv":
        return ConvEncoder(shape, hidden, outputs, nonlinearity)
    return RowEncoder(shape, hidden, outputs)


def make_decoder(
    kind: str,
    latent_dim: int,
    hidden: Sequence[int],
    data_dim: int,
    outputs: int,
    nonlinearity: str = "tanh",
    shape: Sequence[int] | None = None,
) -> nn.Module:
    """A net from latent vectors to P numbers per pixel, those of a pixel beside each other: (..., L) -> (..., D * P).

    Args and errors as ``make_encoder``, with L for ``latent_dim`` and P for ``outputs``, and one kind more: ``"skip"``,
    whose every layer sees z (``SkipMLP``).
    """
    check_kind("decoder", kind, shape, DECODERS)
    if kind in ("mlp", "skip"):
        return (mlp if kind == "mlp" else SkipMLP)(latent_dim, hidden, data_dim * outputs, nonlinearity)
    if kind == "conv":
        return ConvDecoder(latent_dim, shape, hidden, outputs, nonlinearity)
    return RowDecoder(latent_dim, shape, hidden, outputs)


def check_kind(argument: str, kind: str, shape: Sequence[int] | None, known: Sequence[str] = KINDS) -> None:
    """Raise ``InvalidInput`` for an unknown kind of net, or one that needs a shape without it."""
    if kind not in known:
        raise InvalidInput(argument, kind, "unknown kind of net", nearest(kind, known))
    if kind in ("conv", "recurrent") and shape is None:
        raise InvalidInput("shape", shape, f"a {kind} {argument} knows rows and columns", "give (C, H, W)")
