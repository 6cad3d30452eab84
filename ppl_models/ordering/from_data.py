"""Orderings read off images by how much their pixels vary and how much they tell of each other.

Entropies and informations are in nats, of the empirical distribution of the images. All orders are deterministic:
numbers that agree to 1e-12 nats are ties, and ties go to the lower pixel index.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.special import xlogy

from ..errors import InvalidInput, nearest
from .base import Ordering, checked_images

METHODS = ("greedy", "chow_liu")
# Numbers held at a time by one intermediate tensor: 128 MiB in float64.
CHUNK = 2**24
# A table of all pairs of (pixel, value) has the square of this many entries at most.
MAX_PIXEL_VALUES = 2**14
DECIMALS = 12


def value_counts(x: Tensor, levels: int = 2) -> Tensor:
    """How often each pixel has each value: (N, D) -> (D, levels), float64."""
    x, data_dim = checked_images(x, levels), x.shape[1]
    counts = torch.zeros(data_dim * levels, dtype=torch.long)
    first = torch.arange(data_dim) * levels
    for images in x.split(max(1, CHUNK // data_dim)):
        counts += torch.bincount((first + images.long()).flatten(), minlength=data_dim * levels)
    return counts.double().reshape(data_dim, levels)


def entropy(x: Tensor, levels: int = 2) -> Tensor:
    """The entropy of each pixel, H_i = -sum_a p_i(a) log p_i(a) with empirical frequencies p_i: (N, D) -> (D,) nats.

    Raises:
        InvalidInput: if x are no images of these levels.
    """
    frequencies = value_counts(x, levels) / len(x)
    return torch.round(-xlogy(frequencies, frequencies).sum(-1), decimals=DECIMALS).abs()


def by_entropy(x: Tensor, levels: int = 2, descending: bool = True) -> Ordering:
    """Pixels in the order of their entropy, the most uncertain first.

    Args:
        x: images (N, D), values 0..levels-1.
        levels: number of values of a pixel.
        descending: ``False`` puts the most certain first.

    Raises:
        InvalidInput: if x are no images of these levels.
    """
    order = torch.sort(entropy(x, levels), descending=descending, stable=True).indices
    return Ordering(tuple(order.tolist()))


def mutual_information(x: Tensor, levels: int = 2) -> Tensor:
    """The information of every pair of pixels about each other: (N, D) -> (D, D) nats, symmetric.

    I_ij = sum_ab p_ij(a, b) log(p_ij(a, b) / (p_i(a) p_j(b))), where one pseudo-image with independent pixels is added
    to the N images: p_ij = (n_ij + p_i p_j) / (N + 1). It keeps the empirical p_i, takes the logarithm's pole away, and
    pulls informations towards zero, where few images overstate them. The diagonal holds the entropies.

    One matrix product of the images' indicators, so it costs about N (D levels)^2 multiplications, in chunks of bounded
    memory.

    Raises:
        InvalidInput: if x are no images of these levels, or D x levels exceeds 16384.
    """
    x = checked_images(x, levels)
    data_dim = x.shape[1]
    if data_dim * levels > MAX_PIXEL_VALUES:
        problem = f"with {data_dim} pixels makes {data_dim * levels} pixel values, more than {MAX_PIXEL_VALUES}"
        raise InvalidInput("levels", levels, problem, "quantize the images more coarsely, or use by_entropy")
    counts, own = value_counts(x, levels), entropy(x, levels)
    pairs = torch.empty(data_dim, data_dim, dtype=torch.float64)
    for block in torch.arange(data_dim).split(max(1, CHUNK // (data_dim * levels**2))):
        joint = _joint_counts(x, counts, block)
        expected = counts[block, :, None, None] * counts / len(x) ** 2
        p = (joint + expected) / (len(x) + 1)
        pairs[block] = own[block, None] + own + xlogy(p, p).sum((1, 3))
    pairs = torch.round((pairs + pairs.T) / 2, decimals=DECIMALS).clamp(min=0)
    return pairs.diagonal_scatter(own)


def _joint_counts(x: Tensor, counts: Tensor, block: Tensor) -> Tensor:
    """How often the pixels of a block and all pixels have each pair of values: (P, levels, D, levels).

    Counted for values above 0 only, by a product of their indicators; what is missing from the counts of single pixels
    has the value 0. Float32 counts exactly up to 2^24 images, and a chunk has fewer.
    """
    (data_dim, levels), num_block = counts.shape, len(block)
    values = torch.arange(1, levels)
    found = torch.zeros(num_block * (levels - 1), data_dim * (levels - 1), dtype=torch.float64)
    for images in x.float().split(max(1, CHUNK // (data_dim * levels))):
        ones = (images[:, :, None] == values).float()
        found += (ones[:, block].flatten(1).T @ ones.flatten(1)).double()
    joint = torch.zeros(num_block, levels, data_dim, levels, dtype=torch.float64)
    joint[:, 1:, :, 1:] = found.reshape(num_block, levels - 1, data_dim, levels - 1)
    joint[:, 1:, :, 0] = counts[block, 1:, None] - joint[:, 1:].sum(-1)
    joint[:, 0] = counts - joint.sum(1)
    return joint


def by_mutual_information(x: Tensor, levels: int = 2, method: str = "greedy") -> Ordering:
    """Pixels in an order in which each is generated soon after those that tell most about it.

    Both methods begin with the pixel of highest entropy and use ``mutual_information``.

    - ``"greedy"``: next comes the pixel with the largest *sum* of informations with those chosen. (The largest single
      information would be Prim's walk of the tree below.)
    - ``"chow_liu"``: the spanning tree of largest total information, which is the tree-shaped p(x) of highest
      likelihood (Chow & Liu 1968), walked depth-first from the first pixel, along the heaviest edge first.

    Args:
        x: images (N, D), values 0..levels-1.
        levels: number of values of a pixel.
        method: ``"greedy"`` or ``"chow_liu"``.

    Raises:
        InvalidInput: for another method, or as ``mutual_information``.
    """
    if method not in METHODS:
        raise InvalidInput("method", method, "is no way to order by information", nearest(method, METHODS))
    information = mutual_information(x, levels)
    root = int(information.diagonal().argmax())  # the first of several
    return Ordering(tuple(_greedy(information, root) if method == "greedy" else _walk(information, root)))


def _greedy(information: Tensor, root: int) -> list[int]:
    sequence, score = [root], information[root].clone()
    for _ in range(len(information) - 1):
        score[sequence[-1]] = -torch.inf
        sequence.append(int(torch.round(score, decimals=DECIMALS - 2).argmax()))
        score += information[sequence[-1]]
    return sequence


def chow_liu_tree(information: Tensor, root: int = 0) -> tuple[int, ...]:
    """The spanning tree of largest total information: the parent of each pixel, and -1 for the root (Prim 1957).

    Args:
        information: (D, D), symmetric; the diagonal is not read.
        root: the pixel to grow the tree from.
    """
    parent, best = [root] * len(information), information[root].clone()
    parent[root], outside = -1, torch.ones(len(information), dtype=torch.bool)
    outside[root] = False
    for _ in range(len(information) - 1):
        pixel = int(torch.where(outside, best, -torch.inf).argmax())
        outside[pixel] = False
        closer = outside & (information[pixel] > best)
        best[closer] = information[pixel][closer]
        for other in closer.nonzero().flatten().tolist():
            parent[other] = pixel
    return tuple(parent)


def _walk(information: Tensor, root: int) -> list[int]:
    """The Chow-Liu tree depth-first, heaviest edge first."""
    children: list[list[int]] = [[] for _ in information]
    for pixel, above in enumerate(chow_liu_tree(information, root)):
        if above >= 0:
            children[above].append(pixel)
    sequence, waiting = [], [root]
    while waiting:
        pixel = waiting.pop()
        sequence.append(pixel)
        edges = information[pixel].tolist()
        waiting += sorted(children[pixel], key=lambda child: (edges[child], -child))  # the last is visited next
    return sequence
