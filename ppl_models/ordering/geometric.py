"""Orderings that need the geometry of the image alone.

They run through the *places* of a grid H x W. Where a place has several channels they come one after the other, so that
a place is finished before the next is begun; pixel (c, row, column) has the index (c H + row) W + column. With one
channel, or no shape given, places are pixels.
"""

from __future__ import annotations

import random as _random
from collections.abc import Iterable, Iterator, Sequence

from ..errors import InvalidInput, nearest
from .base import Ordering, image_shape

Place = tuple[int, int]


def _through(places: Iterable[Place], shape: tuple[int, int, int]) -> Ordering:
    """All channels of the first place, of the second, and so on."""
    channels, height, width = shape
    return Ordering(
        tuple((c * height + row) * width + column for row, column in places for c in range(channels)),
    )


def raster(data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """Row by row, left to right: 0, 1, ..., D-1 for one channel."""
    channels, height, width = image_shape(data_dim, shape)
    return _through(((row, column) for row in range(height) for column in range(width)), (channels, height, width))


def backwards(data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """Raster order reversed, channels too: D-1, ..., 1, 0 for one channel."""
    return Ordering(raster(data_dim, shape).sequence[::-1])


def shifted(data_dim: int, shift: int = 1, shape: Sequence[int] | None = None) -> Ordering:
    """Raster order begun at its pixel number ``shift``: a cyclic shift, and for D > 2 not its own inverse."""
    sequence, start = raster(data_dim, shape).sequence, shift % data_dim
    return Ordering(sequence[start:] + sequence[:start])


def random(data_dim: int, seed: int = 0) -> Ordering:
    """A uniformly random order of all pixels, channels apart, that depends on ``seed`` alone.

    It is drawn by Python's own generator, without global state.
    """
    sequence = list(range(data_dim))
    _random.Random(seed).shuffle(sequence)
    return Ordering(tuple(sequence))


def columns(data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """Column by column from the left, each from top to bottom."""
    channels, height, width = image_shape(data_dim, shape)
    return _through(((row, column) for column in range(width) for row in range(height)), (channels, height, width))


def snake(data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """Row by row, to the right and to the left in turn (boustrophedon): consecutive places are neighbours."""
    channels, height, width = image_shape(data_dim, shape)
    places = ((row, width - 1 - step if row % 2 else step) for row in range(height) for step in range(width))
    return _through(places, (channels, height, width))


def spiral(data_dim: int, direction: str = "in", shape: Sequence[int] | None = None) -> Ordering:
    """From the top-left corner clockwise to the centre, or ``"out"``: the same places the other way round.

    Consecutive places are neighbours.

    Raises:
        InvalidInput: for another direction.
    """
    if direction not in ("in", "out"):
        raise InvalidInput("ordering", f"spiral:{direction}", "no such direction", nearest(direction, ("in", "out")))
    channels, height, width = image_shape(data_dim, shape)
    places = list(_inwards(height, width))
    return _through(places if direction == "in" else places[::-1], (channels, height, width))


def _inwards(height: int, width: int) -> Iterator[Place]:
    """The rings of the grid from the outermost to the innermost, each clockwise from its top-left corner."""
    top, left, bottom, right = 0, 0, height - 1, width - 1
    while top <= bottom and left <= right:
        yield from ((top, column) for column in range(left, right + 1))
        yield from ((row, right) for row in range(top + 1, bottom + 1))
        if top < bottom and left < right:
            yield from ((bottom, column) for column in range(right - 1, left - 1, -1))
            yield from ((row, left) for row in range(bottom - 1, top, -1))
        top, left, bottom, right = top + 1, left + 1, bottom - 1, right - 1


def hilbert(data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """A Hilbert curve through any grid, from the top-left corner along the longer side.

    Places that are close in the order are close in the image. Consecutive places are neighbours, but for one diagonal
    step at most, and only where the longer side is odd and the shorter one even. In a square of side 2^k it is the
    curve of Hilbert (1891); elsewhere the generalized one of J. Cerveny ("gilbert", github.com/jakubcerveny/gilbert):
    long rectangles are cut in two, others in three parts of alternating direction, at even sizes where possible.
    """
    channels, height, width = image_shape(data_dim, shape)
    long, short = ((0, width), (height, 0)) if width >= height else ((height, 0), (0, width))
    return _through(_curve((0, 0), long, short), (channels, height, width))


def _curve(start: Place, long: Place, short: Place) -> Iterator[Place]:
    """Walk the rectangle spanned by two axis-parallel vectors from its corner ``start`` to the far end of ``long``."""
    length, breadth = abs(sum(long)), abs(sum(short))
    if length == 1 or breadth == 1:
        line = long if breadth == 1 else short
        yield from (_plus(start, _unit(line), steps) for steps in range(max(length, breadth)))
    elif 2 * length > 3 * breadth:
        half = _half(long)
        yield from _curve(start, half, short)
        yield from _curve(_plus(start, half), _plus(long, half, -1), short)
    else:
        half, up = (long[0] // 2, long[1] // 2), _half(short)
        turn = _plus(_plus(start, long), up)  # just outside the first two parts, one step beyond on either axis
        yield from _curve(start, up, half)
        yield from _curve(_plus(start, up), long, _plus(short, up, -1))
        last = _plus(_plus(turn, _unit(long), -1), _unit(short), -1)
        yield from _curve(last, (-up[0], -up[1]), _plus(half, long, -1))


def _plus(one: Place, other: Place, times: int = 1) -> Place:
    return one[0] + times * other[0], one[1] + times * other[1]


def _unit(vector: Place) -> Place:
    """The step of length one in the direction of an axis-parallel vector."""
    length = abs(sum(vector))
    return vector[0] // length, vector[1] // length


def _half(vector: Place) -> Place:
    """Half of a vector, of even length where possible, so that the curve ends in the right corner."""
    half = (vector[0] // 2, vector[1] // 2)
    return _plus(half, _unit(vector)) if sum(half) % 2 and abs(sum(vector)) > 2 else half
