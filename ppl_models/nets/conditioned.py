"""An autoregressive net under given contexts, as a function of images alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .autoregressive import AutoregressiveNet, Cache


class ConditionedNet(nn.Module):
    """x -> net(x, context): (..., D) -> (..., D, P).

    Args:
        net: an autoregressive net that takes a context per place.
        context: (..., D, E), with leading dimensions that those of the images broadcast to.
    """

    def __init__(self, net: AutoregressiveNet, context: Tensor) -> None:
        super().__init__()
        self.net, self.context = net, context

    def forward(self, x: Tensor) -> Tensor:
        """Pixel values (..., D) -> (..., D, P)."""
        return self.net(x, self.context.expand(*x.shape, -1))

    def cache(self, shape: torch.Size) -> Cache:
        """An empty cache for rows of a leading shape."""
        context = self.context.expand(*shape, *self.context.shape[-2:])
        return self.net.cache(shape.numel(), context.reshape(-1, *self.context.shape[-2:]))
