"""Orderings: the sequence in which an autoregressive program generates the pixels of an image.

Two integers belong to every pixel and are easily mixed up: ``sequence[t]`` is the pixel generated t-th, ``rank[i]`` is
the step at which pixel i is generated. They are inverse permutations, equal only for self-inverse orders such as raster
and reversed, which is why tests use a cyclic shift.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isqrt, prod

from .errors import InvalidInput, nearest


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
        sequence = tuple(int(i) for i in self.sequence)
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


def raster(data_dim: int) -> Ordering:
    """Row by row, left to right: 0, 1, ..., D-1."""
    return Ordering(tuple(range(data_dim)))


def backwards(data_dim: int) -> Ordering:
    """Raster order reversed: D-1, ..., 1, 0."""
    return Ordering(tuple(reversed(range(data_dim))))


def shifted(data_dim: int, shift: int = 1) -> Ordering:
    """Raster order begun at pixel ``shift``: a cyclic shift, and for D > 2 not its own inverse."""
    return Ordering(tuple((t + shift) % data_dim for t in range(data_dim)))


def random(data_dim: int, seed: int = 0) -> Ordering:
    """A uniformly random order that depends on ``seed`` alone (Python's own generator, no global state)."""
    sequence = list(range(data_dim))
    _random.Random(seed).shuffle(sequence)
    return Ordering(tuple(sequence))


ORDERINGS: dict[str, Callable[..., Ordering]] = {
    "raster": raster,
    "reversed": backwards,
    "shifted": shifted,
    "random": random,
}


def image_shape(data_dim: int, shape: Sequence[int] | None = None) -> tuple[int, int, int]:
    """The geometry (C, H, W) of D pixels: as given, else a square if D is one, else one row.

    Raises:
        InvalidInput: if the geometry has another number of pixels.
    """
    if shape is None:
        side = isqrt(data_dim)
        return (1, side, side) if side * side == data_dim else (1, 1, data_dim)
    channels, height, width = (int(size) for size in shape)
    if channels * height * width != data_dim:
        raise InvalidInput("shape", tuple(shape), f"the images have {data_dim} pixels", "give (C, H, W) of them")
    return channels, height, width


def as_ordering(spec: Ordering | str | Sequence[int], data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """An ordering of D pixels from a name, a sequence of pixel indices, or an ordering.

    Names may carry one integer after a colon: ``"raster"``, ``"reversed"``, ``"shifted:3"``, ``"random:7"`` (the seed).

    Raises:
        InvalidInput: for an unknown name, no permutation, or the wrong length.
    """
    if isinstance(spec, str):
        name, _, argument = spec.partition(":")
        if name not in ORDERINGS:
            raise InvalidInput("ordering", spec, "unknown", nearest(name, ORDERINGS))
        if argument and (not argument.isdigit() or name in ("raster", "reversed")):
            raise InvalidInput("ordering", spec, "unreadable", "write raster, reversed, shifted:N or random:SEED")
        spec = ORDERINGS[name](data_dim, *([int(argument)] if argument else []))
    ordering = spec if isinstance(spec, Ordering) else Ordering(tuple(spec))
    if len(ordering) != data_dim:
        raise InvalidInput(
            "ordering",
            f"{len(ordering)} entries",
            f"the images have {data_dim} pixels",
            "order all pixels",
        )
    return ordering


def num_pixels(shape: Sequence[int]) -> int:
    """D of an image geometry (C, H, W)."""
    return prod(shape)
