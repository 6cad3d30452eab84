"""Orderings by geometry: permutations all, against cases written by hand, neighbours where promised."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ppl_models.ordering import ORDERINGS, as_ordering

SHAPES = [
    (1, 1, 1), (1, 1, 9), (1, 9, 1), (1, 7, 5), (1, 5, 7), (1, 2, 2), (1, 2, 3), (1, 6, 9), (1, 8, 8), (1, 28, 28),
    (3, 4, 4), (3, 1, 5), (3, 5, 1), (3, 3, 2), (2, 7, 6),
]  # fmt: skip
NAMES = [*ORDERINGS, "spiral:out", "shifted:5", "random:3"]
BY_PLACES = ["raster", "columns", "snake", "spiral", "spiral:out", "hilbert"]


def places(name: str, height: int, width: int) -> list[tuple[int, int]]:
    """(row, column) of each step."""
    return [divmod(pixel, width) for pixel in as_ordering(name, height * width, (1, height, width)).sequence]


def steps(name: str, height: int, width: int) -> list[tuple[int, int]]:
    """How far down and across each step goes, without signs."""
    return [(abs(a[0] - b[0]), abs(a[1] - b[1])) for a, b in pairwise(places(name, height, width))]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_ordering_is_a_permutation_and_rank_its_inverse(name: str, shape: tuple[int, int, int]) -> None:
    data_dim = shape[0] * shape[1] * shape[2]
    ordering = as_ordering(name, data_dim, shape)
    assert sorted(ordering.sequence) == list(range(data_dim))
    assert [ordering.sequence[step] for step in ordering.rank] == list(range(data_dim))


@pytest.mark.parametrize(
    ("name", "height", "width", "expected"),
    [
        ("raster", 2, 3, [0, 1, 2, 3, 4, 5]),
        ("reversed", 2, 3, [5, 4, 3, 2, 1, 0]),
        ("shifted:4", 2, 3, [4, 5, 0, 1, 2, 3]),
        ("columns", 2, 3, [0, 3, 1, 4, 2, 5]),
        ("columns", 3, 2, [0, 2, 4, 1, 3, 5]),
        ("snake", 2, 3, [0, 1, 2, 5, 4, 3]),
        ("snake", 3, 2, [0, 1, 3, 2, 4, 5]),
        ("spiral", 3, 3, [0, 1, 2, 5, 8, 7, 6, 3, 4]),
        ("spiral", 3, 4, [0, 1, 2, 3, 7, 11, 10, 9, 8, 4, 5, 6]),
        ("spiral", 4, 3, [0, 1, 2, 5, 8, 11, 10, 9, 6, 3, 4, 7]),
        ("spiral", 1, 4, [0, 1, 2, 3]),
        ("spiral", 4, 1, [0, 1, 2, 3]),
        ("spiral:out", 3, 3, [4, 3, 6, 7, 8, 5, 2, 1, 0]),
        ("hilbert", 2, 2, [0, 2, 3, 1]),
        ("hilbert", 4, 4, [0, 1, 5, 4, 8, 12, 13, 9, 10, 14, 15, 11, 7, 6, 2, 3]),
        ("hilbert", 1, 4, [0, 1, 2, 3]),
    ],
)
def test_small_cases_by_hand(name: str, height: int, width: int, expected: list[int]) -> None:
    assert list(as_ordering(name, height * width, (1, height, width)).sequence) == expected


def test_a_square_or_a_row_is_meant_where_no_shape_is_given() -> None:
    assert as_ordering("columns", 4).sequence == (0, 2, 1, 3)
    assert as_ordering("columns", 5).sequence == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("name", ["snake", "spiral", "spiral:out"])
def test_consecutive_places_are_neighbours(name: str) -> None:
    for height in range(1, 12):
        for width in range(1, 12):
            assert all(sum(step) == 1 for step in steps(name, height, width)), (height, width)


def test_a_hilbert_curve_goes_to_neighbours_but_for_one_diagonal_step_on_some_grids() -> None:
    for height in range(1, 20):
        for width in range(1, 20):
            far = [step for step in steps("hilbert", height, width) if sum(step) != 1]
            shorter, longer = sorted((height, width))
            allowed = [(1, 1)] if longer % 2 == 1 and shorter % 2 == 0 else []
            assert far in ([], allowed), (height, width)
            walk = places("hilbert", height, width)
            assert walk[0] == (0, 0)
            # The end is the other corner of the longer side where parity allows it.
            if not (longer % 2 == 1 and shorter % 2 == 0):
                assert walk[-1] == ((0, width - 1) if width >= height else (height - 1, 0)), (height, width)


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_a_hilbert_curve_fills_each_quarter_before_the_next(power: int) -> None:
    """On squares of side 2^k, recursively: this is what a snake or a spiral does not do."""
    side = 2**power
    walk = places("hilbert", side, side)
    for depth in range(1, power + 1):
        part, block = len(walk) // 4**depth, side // 2**depth
        for start in range(0, len(walk), part):
            assert len({(row // block, column // block) for row, column in walk[start : start + part]}) == 1


@pytest.mark.parametrize("name", BY_PLACES)
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 3), (3, 1, 4)], ids=str)
def test_channels_of_a_place_come_one_after_the_other(name: str, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    grid = height * width
    one = as_ordering(name, grid, (1, height, width)).sequence
    expected = [c * grid + place for place in one for c in range(channels)]
    assert list(as_ordering(name, channels * grid, shape).sequence) == expected


def test_reversed_and_shifted_follow_the_raster_of_all_channels() -> None:
    raster = as_ordering("raster", 12, (3, 2, 2)).sequence
    assert raster == (0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)
    assert as_ordering("reversed", 12, (3, 2, 2)).sequence == raster[::-1]
    assert as_ordering("shifted:2", 12, (3, 2, 2)).sequence == raster[2:] + raster[:2]
