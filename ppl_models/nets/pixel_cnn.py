"""PixelCNN's net: residual blocks of causally masked convolutions (van den Oord et al. 2016, 1601.06759)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from ..ordering import Ordering
from .autoregressive import AutoregressiveNet, Cache
from .mlp import check_dropout
from .taps import TapConv, causal_places, window

Local = Callable[[int, Tensor | None], Tensor]


def one_plane(shape: Sequence[int], program: str) -> tuple[int, int]:
    """Height and width of images of one channel.

    Raises:
        InvalidInput: for several channels.
    """
    if shape[0] != 1:
        remedy = "use made, nade or pixel_transformer"
        raise InvalidInput("shape", tuple(shape), f"{program} is over images of one channel", remedy)
    return shape[1], shape[2]


def pixel_features(x: Tensor, scale: float) -> Tensor:
    """Two channels per pixel, (..., D) -> (..., D, 2): the value on [-1, 1], and a 1 that tells a pixel from the
    border."""
    value = x * (2 * scale) - 1
    return torch.stack((value, torch.ones_like(value)), -1)


class ResidualBlock(nn.Module):
    """h + W2 f(conv(f(W1 f(h)))), half the channels inside; f is the ReLU and ``conv`` sees a place and its past."""

    def __init__(self, channels: int, conv: TapConv, context: int, dropout: float) -> None:
        super().__init__()
        inner = conv.bias.numel()
        self.narrow, self.conv, self.wide = nn.Linear(channels, inner), conv, nn.Linear(inner, channels)
        self.context = nn.Linear(context, inner, bias=False) if context else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, local: Callable[[Tensor], Tensor], context: Tensor | None) -> Tensor:
        """(N, B, C) -> (N, B, C); ``local`` applies the convolution."""
        inner = local(functional.relu(self.narrow(functional.relu(h))))
        if self.context is not None:
            inner = inner + self.context(context)
        return h + self.wide(self.dropout(functional.relu(inner)))


class PixelCNNNet(AutoregressiveNet):
    """(N, D) -> (N, D, P) by masked convolutions over the image, in any ordering.

    The first convolution sees earlier pixels only (mask A), later ones the place itself too (mask B). In raster order
    two masked convolutions on top of each other never reach the pixels to the upper right beyond a diagonal: the blind
    spot. Under an ordering whose past does not look alike everywhere, each place has masks of its own (Jain et al.
    2020, 2006.12486).

    Args:
        ordering: the order of generation.
        shape: (1, H, W).
        channels: of the features.
        depth: number of residual blocks; 0 leaves the first convolution and the read-out, whose window is all that a
            conditional sees.
        kernel, first_kernel: widths of the windows; without a context the first is at least 3, else no pixel is seen.
        outputs: P.
        dropout: in the residual blocks.
        scale: factor on the pixel values.
        position: give every place a learned bias, so that a conditional knows where it is.
        context: size of a context vector per place, for a conditioned net; 0 for none.
    """

    def __init__(
        self,
        ordering: Ordering,
        shape: Sequence[int],
        channels: int = 32,
        depth: int = 4,
        kernel: int = 3,
        first_kernel: int = 7,
        outputs: int = 1,
        dropout: float = 0.0,
        scale: float = 1.0,
        position: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        height, width = one_plane(shape, "PixelCNN")
        for name, value, least in (("channels", channels, 1), ("depth", depth, 0)):
            if value < least:
                raise InvalidInput(name, value, f"must be at least {least}", "give a count")
        self.size, self.outputs, self.scale = (height, width), outputs, scale
        inner, dropout = max(1, channels // 2), check_dropout(dropout)
        self.first = TapConv(2, channels, window(first_kernel, "first_kernel", 1 if context else 3), height, width)
        convs = [TapConv(inner, inner, window(kernel), height, width) for _ in range(depth)]
        self.blocks = nn.ModuleList(ResidualBlock(channels, conv, context, dropout) for conv in convs)
        self.position = nn.Parameter(torch.zeros(height * width, channels)) if position else None
        self.first_context = nn.Linear(context, channels, bias=False) if context else None
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, outputs))
        self.reorder(ordering)

    def reorder(self, ordering: Ordering) -> None:
        """Take the masks of another ordering."""
        super().reorder(ordering)
        for strict, conv in ((True, self.first), *((False, block.conv) for block in self.blocks)):
            conv.take(causal_places(ordering, conv.taps, *self.size, strict=strict))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(..., D), context (..., D, E) -> (..., D, P)."""
        convs = [self.first, *(block.conv for block in self.blocks)]
        features = pixel_features(x.reshape(-1, x.shape[-1]), self.scale).to(self.first.weight.dtype)
        context = None if context is None else context.reshape(-1, *context.shape[-2:])
        y = self.through(features, lambda number, h: convs[number](h), slice(None), context)
        return y.view(*x.shape, self.outputs)

    def through(
        self, features: Tensor | None, local: Local, places: Tensor | slice, context: Tensor | None = None
    ) -> Tensor:
        """All layers at some places: pixel features (N, B, 2) -> (N, B, P). ``local(n, h)`` is the n-th convolution;
        it alone looks at other places, so that a cache need replace nothing else."""
        h = local(0, features)
        if self.position is not None:
            h = h + self.position[places]
        if self.first_context is not None:
            h = h + self.first_context(context)
        for number, block in enumerate(self.blocks, 1):
            h = block(h, lambda inner, n=number: local(n, inner), context)
        return self.head(h)

    def cache(self, rows: int, context: Tensor | None = None) -> Cache:
        """The inputs of every convolution at the places generated so far; context (rows, D, E)."""
        return PixelCNNCache(self, rows, context)

    def footprint(self) -> int:
        """Some four tensors of features stand beside each other; a convolution with masks per place gathers all it
        reads."""
        convs = [self.first, *(block.conv for block in self.blocks)]
        gathered = max(0 if conv.uniform else len(conv.used) * conv.weight.shape[1] for conv in convs)
        channels = self.head[1].out_features
        return len(self.ordering) * max(5 * channels, self.outputs + channels, 3 * channels + gathered)


def pixel_memory(like: Tensor, rows: int, data_dim: int) -> Tensor:
    """Room for the features of all pixels, (rows, D + 1, 2): no value yet, and an end that is zero."""
    memory = like.new_zeros(rows, data_dim + 1, 2)
    # A place that is not generated yet is never read, so that the second channel can be there from the start.
    memory[:, :-1, 1] = 1
    return memory


def remember(memory: Tensor, start: int, values: Tensor, scale: float) -> None:
    """Write pixel values (rows, B) from entry ``start`` on, as ``pixel_features`` does."""
    memory[:, start : start + values.shape[1], 0] = values * (2 * scale) - 1


class PixelCNNCache(Cache):
    """Per convolution a memory (rows, D + 1, C) of its inputs in the order of generation; the last entry is zero."""

    @torch.no_grad()
    def __init__(self, net: PixelCNNNet, rows: int, context: Tensor | None = None) -> None:
        super().__init__(net.ordering)
        self.net = net
        convs = [net.first, *(block.conv for block in net.blocks)]
        self.readers = [conv.reader(net.ordering) for conv in convs]
        like, data_dim = net.first.weight, len(net.ordering)
        self.sequence = torch.tensor(net.ordering.sequence, device=like.device)
        self.state["memory0"] = pixel_memory(like, rows, data_dim)
        for number, conv in enumerate(convs[1:], 1):
            self.state[f"memory{number}"] = like.new_zeros(rows, data_dim + 1, conv.weight.shape[1])
        if context is not None:
            self.state["context"] = context

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P)."""
        start, stop = self.step, self.step + values.shape[1]
        if stop - start > 1:
            remember(self.state["memory0"], start, values[:, :-1], self.net.scale)
        places = self.sequence[start:stop]
        context = self.state["context"][:, places] if "context" in self.state else None

        def local(number: int, h: Tensor | None) -> Tensor:
            memory = self.state[f"memory{number}"]
            if number:
                memory[:, start:stop] = h
            return self.readers[number](memory, start, stop)

        return self.net.through(None, local, places, context)

    def commit(self, values: Tensor) -> None:
        """Remember the pixels; the features beside them were stored when they were computed."""
        remember(self.state["memory0"], self.step, values, self.net.scale)
        self.step += values.shape[1]
