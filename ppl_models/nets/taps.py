"""Convolutions over stated taps: the building block of causal convolutions, whole images at once or place by place.

A tap is an offset (rows down, columns right) from a place. Images and features are ``(N, D, C)``, channels last, in
raster order, so that a layer that mixes no places is an affine map of the last dimension. Where a tap falls outside of
the image, or on a pixel that must not be seen, it reads zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from ..ordering import Ordering

Tap = tuple[int, int]


def window(kernel: int, argument: str = "kernel", least: int = 1) -> list[Tap]:
    """All taps of a square window around a place.

    Args:
        kernel: its width.
        argument: what the user calls it.
        least: the smallest width that will do; a window that reads earlier pixels alone sees nothing below 3.

    Raises:
        InvalidInput: for an even width, or a smaller one.
    """
    if kernel < least or kernel % 2 == 0:
        raise InvalidInput(argument, kernel, f"a window has an odd width, here at least {least}", "write for example 3")
    reach = kernel // 2
    return [(row, column) for row in range(-reach, reach + 1) for column in range(-reach, reach + 1)]


def places_of(taps: Sequence[Tap], height: int, width: int) -> Tensor:
    """Where the taps of every place lie: indices (D, T), and D where a tap falls outside of the image."""
    row = torch.arange(height)[:, None].expand(height, width).reshape(-1, 1)
    column = torch.arange(width)[None, :].expand(height, width).reshape(-1, 1)
    rows = row + torch.tensor([tap[0] for tap in taps], dtype=torch.long)
    columns = column + torch.tensor([tap[1] for tap in taps], dtype=torch.long)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return torch.where(inside, rows * width + columns, height * width)


def causal_places(ordering: Ordering, taps: Sequence[Tap], height: int, width: int, *, strict: bool) -> Tensor:
    """``places_of`` with D wherever the tap's pixel is generated after the place (or is it, with ``strict``)."""
    places = places_of(taps, height, width)
    rank = torch.tensor([*ordering.rank, len(ordering)])
    own = rank[:-1, None]
    seen = rank[places] < own if strict else rank[places] <= own
    return torch.where(seen, places, height * width)


class TapConv(nn.Module):
    """Convolution over taps: (N, D, C) -> (N, D, O).

    Args:
        channels: C.
        outputs: O.
        taps: the offsets it reads.
        height, width: of the image.
        places: which place each tap reads, (D, T), D for none; by geometry alone unless given. Where taps are left out
            at some places and not at others (Jain et al. 2020, locally masked convolutions, 2006.12486), every place
            gathers its own taps, else it is an ordinary convolution.
    """

    places: Tensor

    def __init__(
        self, channels: int, outputs: int, taps: Sequence[Tap], height: int, width: int, places: Tensor | None = None
    ) -> None:
        super().__init__()
        self.taps, self.size = list(taps), (height, width)
        fan_in = max(1, channels * self._live(places_of(taps, height, width) if places is None else places))
        self.weight = nn.Parameter(torch.empty(len(self.taps), channels, outputs).uniform_(-1, 1) * fan_in**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.take(places_of(taps, height, width) if places is None else places)

    @staticmethod
    def _live(places: Tensor) -> int:
        """The most taps that a place reads."""
        return int((places < len(places)).sum(1).max()) if places.numel() else 0

    def take(self, places: Tensor) -> None:
        """Read other places through the same weights."""
        height, width = self.size
        inside = places_of(self.taps, height, width) < height * width
        read = places < height * width
        # A tap that is read wherever it lies inside the image, or nowhere, needs no mask per place.
        used = read.any(0)
        self.uniform = bool((read == (inside & used)).all())
        self.used = [number for number, some in enumerate(used.tolist()) if some]
        self.register_buffer("places", places.to(self.weight.device), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """(N, D, C) -> (N, D, O)."""
        if not self.used:
            return self.bias.expand(*h.shape[:-1], -1)
        if not self.uniform:
            return self.at(functional.pad(h, (0, 0, 0, 1)), slice(None))
        rows, columns = ([self.taps[n][axis] for n in self.used] for axis in (0, 1))
        top, left = min(rows), min(columns)
        tall, wide = max(rows) - top + 1, max(columns) - left + 1
        cells = [(row - top) * wide + column - left for row, column in zip(rows, columns, strict=True)]
        kernel = self.weight[self.used]
        if cells != list(range(tall * wide)):
            empty = kernel.new_zeros(tall * wide, *kernel.shape[1:])
            kernel = empty.index_copy(0, torch.tensor(cells, device=h.device), kernel)
        kernel = kernel.view(tall, wide, *kernel.shape[1:]).permute(3, 2, 0, 1)
        height, width = self.size
        image = h.reshape(-1, height, width, h.shape[-1])
        # A window that does not begin or end at the place itself is shifted: negative padding cuts.
        image = functional.pad(image, (0, 0, -left, wide - 1 + left, -top, tall - 1 + top))
        y = functional.conv2d(image.permute(0, 3, 1, 2), kernel, self.bias)
        return y.permute(0, 2, 3, 1).reshape(*h.shape[:-1], -1)

    def at(self, memory: Tensor, places: Tensor | slice) -> Tensor:
        """The output at some places: memory (N, D + 1, C), whose last entry is zero, and B places -> (N, B, O)."""
        index = self.places[places][:, self.used]
        taps = memory.index_select(1, index.flatten()).view(len(memory), len(index), -1)
        return functional.linear(taps, self.weight[self.used].flatten(0, 1).T, self.bias)

    def reader(self, ordering: Ordering | None = None) -> TapReader:
        """``at`` for many calls with today's weights; with an ordering the memory is in the order of generation."""
        index = self.places[:, self.used]
        if ordering is not None:
            rank = torch.tensor([*ordering.rank, len(ordering)], device=index.device)
            index = rank[index[list(ordering.sequence)]]
        return TapReader(index, self.weight[self.used].flatten(0, 1).T.contiguous(), self.bias)


class TapReader:
    """What ``TapConv.at`` computes, prepared once: a cache asks for one place some thousands of times.

    Args:
        index: which entries of the memory a place reads, (D, T).
        weight: (O, T * C).
        bias: (O,).
    """

    def __init__(self, index: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.index, self.weight, self.bias = index.contiguous(), weight, bias

    def __call__(self, memory: Tensor, start: int, stop: int) -> Tensor:
        """Places ``start`` to ``stop`` of memory (N, D + 1, C) -> (N, B, O)."""
        taps = memory.index_select(1, self.index[start:stop].view(-1))
        return functional.linear(taps.view(len(memory), stop - start, -1), self.weight, self.bias)
