"""Convolutional and recurrent nets between images and vectors: encoders, and the decoders that mirror them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from .mlp import activation, check_widths


class GatedConv(nn.Module):
    """(a * sigmoid(b)) of one convolution with twice the channels (Dauphin et al. 2017, 1612.08083)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, 3, stride, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, O, H / stride, W / stride), rounded up."""
        return functional.glu(self.conv(h), 1)


class GatedResidual(nn.Module):
    """h + gated convolution of f(h)."""

    def __init__(self, channels: int, nonlinearity: str) -> None:
        super().__init__()
        self.activation, self.conv = activation(nonlinearity), GatedConv(channels, channels)

    def forward(self, h: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        return h + self.conv(self.activation(h))


def sizes_of(shape: Sequence[int], stages: int) -> list[tuple[int, int]]:
    """Height and width of the image, and after each stage that halves them, rounded up."""
    sizes = [(shape[-2], shape[-1])]
    for _ in range(stages):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


class ConvEncoder(nn.Module):
    """(..., D) -> (..., P): per stage a gated convolution that halves the image and a gated residual block.

    Args:
        shape: (C, H, W).
        channels: of each stage.
        outputs: P.
        nonlinearity: name of the activation in the blocks.

    Raises:
        InvalidInput: without stages, or a width below 1.
    """

    def __init__(self, shape: Sequence[int], channels: Sequence[int], outputs: int, nonlinearity: str = "elu") -> None:
        super().__init__()
        self.shape, channels = tuple(shape), stages_of(channels)
        layers: list[nn.Module] = []
        for inputs, width in zip((shape[0], *channels), channels, strict=False):
            layers += [GatedConv(inputs, width, stride=2), GatedResidual(width, nonlinearity)]
        height, width = sizes_of(shape, len(channels))[-1]
        self.body = nn.Sequential(*layers, activation(nonlinearity))
        self.read = nn.Linear(channels[-1] * height * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images (..., D) -> (..., P)."""
        h = self.body(x.reshape(-1, *self.shape) * 2 - 1)
        return self.read(h.flatten(1)).view(*x.shape[:-1], -1)


class ConvDecoder(nn.Module):
    """(..., L) -> (..., D * P): the mirror of ``ConvEncoder``, which doubles the image by repeating places.

    Args:
        latent_dim: L.
        shape: (C, H, W).
        channels: of each stage, from the image inwards as in the encoder.
        outputs: P, per value of the image.
        nonlinearity: name of the activation in the blocks.

    Raises:
        InvalidInput: without stages, or a width below 1.
    """

    def __init__(
        self, latent_dim: int, shape: Sequence[int], channels: Sequence[int], outputs: int, nonlinearity: str = "elu"
    ) -> None:
        super().__init__()
        self.shape, channels = tuple(shape), stages_of(channels)[::-1]
        self.sizes = sizes_of(shape, len(channels))[::-1]
        self.start = (channels[0], *self.sizes[0])
        self.spread = nn.Linear(latent_dim, channels[0] * self.sizes[0][0] * self.sizes[0][1])
        self.stages = nn.ModuleList(
            nn.Sequential(GatedResidual(inputs, nonlinearity), GatedConv(inputs, width))
            for inputs, width in zip(channels, (*channels[1:], channels[-1]), strict=True)
        )
        self.read = nn.Conv2d(channels[-1], shape[0] * outputs, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Codes (..., L) -> (..., D * P), the P parameters of a value beside each other."""
        h = self.spread(z.reshape(-1, z.shape[-1])).view(-1, *self.start)
        for stage, size in zip(self.stages, self.sizes[1:], strict=True):
            h = functional.interpolate(stage(h), size=size)
        y = self.read(h).unflatten(1, (self.shape[0], -1))
        return y.permute(0, 1, 3, 4, 2).reshape(*z.shape[:-1], -1)


class RowEncoder(nn.Module):
    """(..., D) -> (..., P): a gated recurrent unit over the rows from top to bottom (Cho et al. 2014, 1406.1078).

    Args:
        shape: (C, H, W).
        hidden: width of the state of each layer, all the same.
        outputs: P.
    """

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.shape, width = tuple(shape), one_width(hidden)
        self.rows = nn.GRU(shape[0] * shape[2], width, len(hidden), batch_first=True)
        self.read = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images (..., D) -> (..., P)."""
        rows = x.reshape(-1, *self.shape).transpose(1, 2).flatten(2)
        return self.read(self.rows(rows)[0][:, -1]).view(*x.shape[:-1], -1)


class RowDecoder(nn.Module):
    """(..., L) -> (..., D * P): a gated recurrent unit writes the rows from top to bottom, fed with z at every row.

    It is a deterministic function of z, which sees no pixels: pixels stay independent given z.

    Args:
        latent_dim: L.
        shape: (C, H, W).
        hidden: width of the state of each layer, all the same.
        outputs: P, per value of the image.
    """

    def __init__(self, latent_dim: int, shape: Sequence[int], hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.shape, width = tuple(shape), one_width(hidden)
        self.rows = nn.GRU(latent_dim, width, len(hidden), batch_first=True)
        self.read = nn.Linear(width, shape[0] * shape[2] * outputs)

    def forward(self, z: Tensor) -> Tensor:
        """Codes (..., L) -> (..., D * P)."""
        channels, height, _ = self.shape
        h = self.rows(z.reshape(-1, 1, z.shape[-1]).expand(-1, height, -1))[0]
        rows = self.read(h).view(len(h), height, channels, -1).transpose(1, 2)  # (N, C, H, W * P)
        return rows.reshape(*z.shape[:-1], -1)


def stages_of(channels: Sequence[int]) -> tuple[int, ...]:
    """The channels of the stages.

    Raises:
        InvalidInput: without stages, or a width below 1.
    """
    channels = check_widths("hidden", channels)
    if not channels:
        raise InvalidInput("hidden", [], "a convolutional net has stages", "write for example [32, 64]")
    return channels


def one_width(hidden: Sequence[int]) -> int:
    """The width of a recurrent net's state.

    Raises:
        InvalidInput: without layers, for a width below 1, or for layers of different widths.
    """
    hidden = check_widths("hidden", hidden)
    if len(set(hidden)) != 1:
        problem = "the layers of a recurrent net have one width"
        raise InvalidInput("hidden", list(hidden), problem, "write for example [128] or [128, 128]")
    return hidden[0]
