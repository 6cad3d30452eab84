"""Gated PixelCNN's net: a vertical and a horizontal stack, no blind spot (van den Oord et al. 2016, 1606.05328)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..errors import InvalidInput
from ..ordering import Ordering
from .autoregressive import AutoregressiveNet, Cache
from .mlp import check_dropout
from .pixel_cnn import one_plane, pixel_features, pixel_memory, remember
from .taps import TapConv, window

Local = Callable[[int, Tensor | None], Tensor]


def gate(drive: Tensor) -> Tensor:
    """tanh(a) * sigmoid(b) of the two halves of the last dimension."""
    a, b = drive.chunk(2, -1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedLayer(nn.Module):
    """One layer of both stacks: the vertical one sees rows above, the horizontal one its row's past and the vertical
    one."""

    def __init__(
        self, inputs: int, channels: int, kernel: int, size: tuple[int, int], context: int, dropout: float, first: bool
    ) -> None:
        super().__init__()
        taps = window(kernel, "first_kernel", 3) if first else window(kernel)
        # The first layer reads pixels: neither the place's own row (vertical) nor the place itself (horizontal).
        above = [tap for tap in taps if (tap[0] < 0 if first else tap[0] <= 0)]
        before = [tap for tap in taps if tap[0] == 0 and (tap[1] < 0 if first else tap[1] <= 0)]
        self.vertical = TapConv(inputs, 2 * channels, above, *size)
        self.horizontal = TapConv(inputs, 2 * channels, before, *size)
        self.link = nn.Linear(2 * channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.context = nn.Linear(context, 2 * channels, bias=False) if context else None
        self.dropout = nn.Dropout(check_dropout(dropout))
        self.first = first


class GatedPixelCNNNet(AutoregressiveNet):
    """(N, D) -> (N, D, P) by two stacks of gated convolutions.

    The stacks need rows, which an ordering need not have: the pixel generated t-th lies at place t of a canvas in
    raster order. For raster, reversed, and other orders that run through rows the canvas is the image or its mirror;
    under other orders neighbours on the canvas are neighbours in time.

    Args:
        ordering: the order of generation.
        shape: (1, H, W).
        channels: of the features of each stack.
        depth: number of gated layers, at least 1.
        kernel, first_kernel: widths of the windows.
        outputs: P.
        dropout: on the horizontal stack's gates.
        scale: factor on the pixel values.
        position: give every place a learned bias, so that a conditional knows where it is.
        context: size of a context vector per place, for a conditioned net; 0 for none.
    """

    def __init__(
        self,
        ordering: Ordering,
        shape: Sequence[int],
        channels: int = 32,
        depth: int = 5,
        kernel: int = 3,
        first_kernel: int = 7,
        outputs: int = 1,
        dropout: float = 0.0,
        scale: float = 1.0,
        position: bool = True,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.size = one_plane(shape, "Gated PixelCNN")
        for name, value in (("channels", channels), ("depth", depth)):
            if value < 1:
                raise InvalidInput(name, value, "must be at least 1", "give a count")
        self.channels, self.outputs, self.scale = channels, outputs, scale
        self.layers = nn.ModuleList(
            GatedLayer(
                channels if number else 2,
                channels,
                kernel if number else first_kernel,
                self.size,
                context,
                dropout,
                number == 0,
            )
            for number in range(depth)
        )
        self.position = nn.Parameter(torch.zeros(len(ordering), 2 * channels)) if position else None
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, outputs))
        self.reorder(ordering)

    def reorder(self, ordering: Ordering) -> None:
        """Lay the pixels out on the canvas in another order."""
        super().reorder(ordering)
        device = self.head[1].weight.device
        self.register_buffer("sequence", torch.tensor(ordering.sequence, device=device), persistent=False)
        self.register_buffer("rank", torch.tensor(ordering.rank, device=device), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(..., D), context (..., D, E) by pixel -> (..., D, P)."""
        canvas = x.reshape(-1, x.shape[-1])[:, self.sequence]
        features = pixel_features(canvas, self.scale).to(self.head[1].weight.dtype)
        context = None if context is None else context.reshape(-1, *context.shape[-2:])[:, self.sequence]
        drives = self.downward(features, lambda n, v: self.layers[n].vertical(v), slice(None), context)
        links = [layer.link(drive) for layer, drive in zip(self.layers, drives, strict=True)]
        y = self.rightward(features, links, lambda n, h: self.layers[n].horizontal(h), slice(None), context)
        return y[:, self.rank].view(*x.shape, self.outputs)

    def downward(
        self, v: Tensor | None, local: Local, places: Tensor | slice, context: Tensor | None = None
    ) -> list[Tensor]:
        """The vertical stack at some places: what enters each layer's gate, (N, B, 2C) each."""
        drives = []
        for number, layer in enumerate(self.layers):
            drive = local(number, v)
            if number == 0 and self.position is not None:
                drive = drive + self.position[places]
            if layer.context is not None:
                drive = drive + layer.context(context)
            drives.append(drive)
            v = gate(drive)
        return drives

    def rightward(
        self, h: Tensor | None, links: list[Tensor], local: Local, places: Tensor | slice, context: Tensor | None = None
    ) -> Tensor:
        """The horizontal stack and the read-out at some places: (N, B, 2) -> (N, B, P)."""
        for number, (layer, link) in enumerate(zip(self.layers, links, strict=True)):
            drive = local(number, h) + link
            if layer.context is not None:
                drive = drive + layer.context(context)
            step = layer.out(layer.dropout(gate(drive)))
            h = step if layer.first else h + step
        return self.head(h)

    def cache(self, rows: int, context: Tensor | None = None) -> Cache:
        """Row activations: the vertical stack once per row, the horizontal one once per pixel; context (rows, D, E)."""
        return GatedPixelCNNCache(self, rows, context)

    def footprint(self) -> int:
        """The gate inputs of all vertical layers stay until the horizontal stack has read them."""
        return len(self.ordering) * (2 * self.channels * (len(self.layers) + 5) + self.outputs)


class GatedPixelCNNCache(Cache):
    """The inputs of every convolution of both stacks on the canvas, and what the vertical stack sends to this row."""

    @torch.no_grad()
    def __init__(self, net: GatedPixelCNNNet, rows: int, context: Tensor | None = None) -> None:
        super().__init__(net.ordering)
        self.net, self.width, self.row = net, net.size[1], -1
        like, data_dim = net.head[1].weight, len(net.ordering)
        self.readers = {
            "v": [layer.vertical.reader() for layer in net.layers],
            "h": [layer.horizontal.reader() for layer in net.layers],
        }
        self.state["pixels"] = pixel_memory(like, rows, data_dim)
        for number in range(len(net.layers)):
            for stack in "vh" if number else "":
                self.state[f"{stack}{number}"] = like.new_zeros(rows, data_dim + 1, net.channels)
            self.state[f"link{number}"] = like.new_zeros(rows, self.width, 2 * net.channels)
        if context is not None:
            self.state["context"] = context[:, net.sequence]

    @property
    def limit(self) -> int:
        """To the end of the row: the next one's vertical stack reads this one whole."""
        return min(self.width - self.step % self.width, super().limit)

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P)."""
        start, stop = self.step, self.step + values.shape[1]
        if stop - start > 1:
            remember(self.state["pixels"], start, values[:, :-1], self.net.scale)
        if start // self.width != self.row:
            self._enter_row(start // self.width)
        column = start % self.width
        links = [self.state[f"link{n}"][:, column : column + stop - start] for n in range(len(self.net.layers))]
        places = slice(start, stop)
        return self.net.rightward(None, links, self._local("h", places), places, self._context(places))

    def _enter_row(self, row: int) -> None:
        """The vertical stack of a new row, whose pixels it does not read."""
        self.row, places = row, slice(row * self.width, (row + 1) * self.width)
        drives = self.net.downward(None, self._local("v", places), places, self._context(places))
        for number, (layer, drive) in enumerate(zip(self.net.layers, drives, strict=True)):
            self.state[f"link{number}"] = layer.link(drive)

    def _local(self, stack: str, places: slice) -> Local:
        """The convolutions of a stack at some places, their inputs stored there first; the pixels are there already."""

        def local(number: int, h: Tensor | None) -> Tensor:
            memory = self.state[f"{stack}{number}" if number else "pixels"]
            if number:
                memory[:, places] = h
            return self.readers[stack][number](memory, places.start, places.stop)

        return local

    def _context(self, places: slice) -> Tensor | None:
        return self.state["context"][:, places] if "context" in self.state else None

    def commit(self, values: Tensor) -> None:
        """Put the pixels on the canvas."""
        remember(self.state["pixels"], self.step, values, self.net.scale)
        self.step += values.shape[1]
