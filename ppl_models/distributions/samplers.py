"""Ways to draw from an autoregressive density. For the same noise all of them give the same images.

Each is a function ``(net, family, sequence, noise) -> x`` with ``net``: (..., D) -> (..., D, P) and uniforms ``noise``
(..., D); entry i of the noise becomes pixel i by the inverse distribution function. In float32 a pixel can differ
between samplers where a uniform lies within rounding of a threshold; in float64 that does not happen in practice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .pixels import PixelFamily

Net = Callable[[Tensor], Tensor]


def sequential(net: Net, family: PixelFamily, sequence: Sequence[int], noise: Tensor) -> Tensor:
    """One full pass per pixel, D passes: the reference."""
    x = torch.zeros_like(noise)
    for pixel in sequence:
        x[..., pixel] = family.draw(net(x)[..., pixel, :], noise[..., pixel])
    return x


def fixed_point(net: Net, family: PixelFamily, sequence: Sequence[int], noise: Tensor) -> Tensor:
    """Iterate x <- draw(net(x), noise) until nothing changes (Song et al. 2021, 2002.03629; Jacobi iteration).

    After pass k the first k pixels of the ordering are right, because they depend only on earlier ones: the fixed point
        is
    unique, is the sequential draw, and is reached in at most D passes; for images in far fewer.
    """
    x = torch.zeros_like(noise)
    for _ in sequence:
        previous, x = x, family.draw(net(x), noise)
        if torch.equal(x, previous):
            break
    return x


def fixed_point_rows(net: Net, family: PixelFamily, sequence: Sequence[int], noise: Tensor) -> Tensor:
    """``fixed_point`` for a net that treats rows alike: images that have converged leave the batch."""
    uniforms = noise.reshape(-1, noise.shape[-1])
    x = torch.zeros_like(uniforms)
    active = torch.arange(len(uniforms), device=noise.device)
    for _ in sequence:
        rows = x[active]
        drawn = family.draw(net(rows), uniforms[active])
        x[active] = drawn
        active = active[(drawn != rows).any(-1)]
        if not len(active):
            break
    return x.view_as(noise)


SAMPLERS: dict[str, Callable[[Net, PixelFamily, Sequence[int], Tensor], Tensor]] = {
    "sequential": sequential,
    "fixed-point": fixed_point,
}
