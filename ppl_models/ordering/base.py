"""The ordering itself, the geometry it runs through, and the check of images that orderings are found from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isqrt, prod
from operator import index

import torch
from torch import Tensor

from ..errors import InvalidInput


@dataclass(frozen=True)
class Ordering:
    """A permutation of the pixels: ``sequence[t]`` is generated t-th.

    Args:
        sequence: the D pixel indices in the order of generation.

    Raises:
        InvalidInput: if ``sequence`` is no permutation of 0..D-1.
    """

    sequence: tuple[int, ...]

    def __post_init__(self) -> None:
        try:
            sequence = tuple(index(i) for i in self.sequence)
        except TypeError as error:
            problem = "does not consist of whole numbers"
            raise InvalidInput("ordering", self.sequence, problem, "name every pixel index exactly once") from error
        if not sequence or sorted(sequence) != list(range(len(sequence))):
            raise InvalidInput(
                "ordering",
                sequence if len(sequence) <= 16 else f"{len(sequence)} entries",
                f"is no permutation of 0..{max(len(sequence) - 1, 0)}",
                "name every pixel index exactly once",
            )
        object.__setattr__(self, "sequence", sequence)

    def __len__(self) -> int:
        return len(self.sequence)

    @cached_property
    def rank(self) -> tuple[int, ...]:
        """The inverse permutation: pixel i is generated at step ``rank[i]``."""
        rank = [0] * len(self.sequence)
        for step, pixel in enumerate(self.sequence):
            rank[pixel] = step
        return tuple(rank)


def image_shape(data_dim: int, shape: Sequence[int] | None = None) -> tuple[int, int, int]:
    """The geometry (C, H, W) of D pixels: as given, else a square if D is one, else one row.

    Raises:
        InvalidInput: if the geometry is no (C, H, W) or has another number of pixels.
    """
    if shape is None:
        side = isqrt(data_dim)
        return (1, side, side) if side * side == data_dim else (1, 1, data_dim)
    sizes = tuple(int(size) for size in shape)
    if len(sizes) != 3 or min(sizes) < 1:
        raise InvalidInput("shape", sizes, "is no image geometry", "give (C, H, W), all at least 1")
    if prod(sizes) != data_dim:
        raise InvalidInput("shape", sizes, f"the images have {data_dim} pixels", "give (C, H, W) of them")
    return sizes[0], sizes[1], sizes[2]


def num_pixels(shape: Sequence[int]) -> int:
    """D of an image geometry (C, H, W)."""
    return prod(shape)


def checked_images(x: Tensor, levels: int = 2, argument: str = "x") -> Tensor:
    """Images (N, D) with whole values 0..levels-1, off the gradient tape and on the CPU, to find an ordering from.

    Raises:
        InvalidInput: if x is no such tensor, or empty.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise InvalidInput(argument, kind, "images are float tensors", "write torch.as_tensor(x).float()")
    if x.ndim != 2 or 0 in x.shape:
        problem = "images are a tensor (N, D), at least one of one pixel"
        raise InvalidInput(argument, tuple(x.shape), problem, "flatten each image")
    if levels < 2:
        raise InvalidInput("levels", levels, "a pixel has at least two values", "give 2 or more")
    x = x.detach().cpu()
    if not torch.isfinite(x).all():
        raise InvalidInput(argument, "NaN or infinity", "images must be finite", "remove or repair those images")
    wrong = (x != x.round()) | (x < 0) | (x > levels - 1)
    if wrong.any():
        problem = f"is no pixel value of {levels} levels, which are 0..{levels - 1}"
        raise InvalidInput(argument, float(x[wrong][0]), problem, "binarize or quantize the images, or pass levels")
    return x
