"""Ways to draw from an autoregressive density. For the same noise all of them give the same images.

Each is a function of a ``Task``: uniforms ``noise`` (..., D), whose entry i becomes pixel i by the inverse distribution
function, and what the net can do. In float32 a pixel can differ between samplers where a uniform lies within rounding
of a threshold; in float64 that does not happen in practice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..nets import Cache
from ..ordering import Ordering
from .pixels import PixelFamily

Net = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """What a sampler is given.

    Args:
        net: (..., D) -> (..., D, P).
        family: the distribution of one pixel.
        ordering: the order of generation.
        noise: uniforms (..., D).
        frozen: gives a faster double of ``net``; ``net`` itself where there is none.
        cache: gives an empty cache for a leading shape, or ``None``.
        by_rows: whether the net treats its rows alike, so that a finished image can leave the batch. A net with a
            context does not.
        block: steps per block of ``fixed-point``; ``None`` iterates over the whole image.
        tick: called with the number of steps (or, fixed point over whole images, the images) that are done.
    """

    net: Net
    family: PixelFamily
    ordering: Ordering
    noise: Tensor
    frozen: Callable[[], Net]
    cache: Callable[[torch.Size], Cache] | None
    by_rows: bool = True
    block: int | None = None
    tick: Callable[[int], None] = lambda _: None


def sequential(task: Task) -> Tensor:
    """One full pass per pixel, D passes: the reference."""
    x = torch.zeros_like(task.noise)
    for pixel in task.ordering.sequence:
        x[..., pixel] = task.family.draw(task.net(x)[..., pixel, :], task.noise[..., pixel])
        task.tick(1)
    return x


def fixed_point(task: Task) -> Tensor:
    """Iterate x <- draw(net(x), noise) until nothing changes (Song et al. 2021, 2002.03629; Jacobi iteration).

    After pass k the first k pixels of the ordering are right, because they depend only on earlier ones: the fixed point
    is unique, is the sequential draw, and is reached in at most D passes; for images in far fewer. With ``block`` the
    iteration runs over so many steps at a time (their Jacobi-Gauss-Seidel variant), each by the net's cache.
    """
    if task.block is not None:
        return _fixed_point_blocks(task)
    if task.by_rows:
        return _fixed_point_rows(task)
    net, x = task.frozen(), torch.zeros_like(task.noise)
    for _ in task.ordering.sequence:
        previous, x = x, task.family.draw(net(x), task.noise)
        if torch.equal(x, previous):
            break
    task.tick(len(task.ordering))
    return x


def _fixed_point_rows(task: Task) -> Tensor:
    """The iteration for a net that treats rows alike: images that have converged leave the batch."""
    net, uniforms = task.frozen(), task.noise.reshape(-1, task.noise.shape[-1])
    x = torch.zeros_like(uniforms)
    active = torch.arange(len(uniforms), device=uniforms.device)
    for _ in task.ordering.sequence:
        rows = x[active]
        drawn = task.family.draw(net(rows), uniforms[active])
        x[active] = drawn
        active = active[(drawn != rows).any(-1)]
        if not len(active):
            break
    task.tick(len(task.ordering))
    return x.view_as(task.noise)


def _fixed_point_blocks(task: Task) -> Tensor:
    """The iteration block by block along the ordering, the earlier blocks final."""
    if task.cache is None:
        return _fixed_point_full_blocks(task)
    uniforms = _in_order(task)
    cache = task.cache(task.noise.shape[:-1])
    draws = []
    while cache.step < len(task.ordering):
        start, size = cache.step, min(task.block, cache.limit)
        noise = uniforms[:, start : start + size]
        values = torch.zeros_like(noise)
        for _ in range(size):
            previous, values = values, task.family.draw(cache.parameters(values), noise)
            # The last value of a block is not read by any conditional of the block.
            if torch.equal(values[:, :-1], previous[:, :-1]):
                break
        cache.commit(values)
        draws.append(values)
        task.tick(size)
    return _out_of_order(task, torch.cat(draws, -1))


def _fixed_point_full_blocks(task: Task) -> Tensor:
    """The same by whole passes of a net without a cache: right, and no faster than the iteration over the image."""
    net, x = task.frozen(), torch.zeros_like(task.noise)
    for start in range(0, len(task.ordering), task.block):
        pixels = list(task.ordering.sequence[start : start + task.block])
        for _ in pixels:
            drawn = task.family.draw(net(x)[..., pixels, :], task.noise[..., pixels])
            done = torch.equal(drawn, x[..., pixels])
            x[..., pixels] = drawn
            if done:
                break
        task.tick(len(pixels))
    return x


def cached(task: Task) -> Tensor:
    """One step per pixel, each given what the net remembers of the earlier ones (Ramachandran et al. 2017,
    1704.06001)."""
    uniforms = _in_order(task)
    cache = task.cache(task.noise.shape[:-1])
    # One column per step in memory: a column of a row-major matrix would be a strided view in every operation.
    draws, uniforms = torch.empty_like(uniforms.T).contiguous(), uniforms.T.contiguous()
    nothing = torch.zeros_like(draws[0]).unsqueeze(-1)
    for step in range(len(uniforms)):
        draws[step] = task.family.draw(cache.parameters(nothing)[:, 0], uniforms[step])
        cache.commit(draws[step].unsqueeze(-1))
        task.tick(1)
    return _out_of_order(task, draws.T)


def _in_order(task: Task) -> Tensor:
    """The noise as rows, its columns in the order of generation: (..., D) -> (rows, D)."""
    sequence = torch.tensor(task.ordering.sequence, device=task.noise.device)
    return task.noise.reshape(-1, task.noise.shape[-1]).index_select(-1, sequence)


def _out_of_order(task: Task, draws: Tensor) -> Tensor:
    """Rows in the order of generation as images: (rows, D) -> (..., D)."""
    rank = torch.tensor(task.ordering.rank, device=draws.device)
    return draws.index_select(-1, rank).view(task.noise.shape)


SAMPLERS: dict[str, Callable[[Task], Tensor]] = {
    "sequential": sequential,
    "fixed-point": fixed_point,
    "cached": cached,
}
