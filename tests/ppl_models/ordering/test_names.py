"""The ordering as a value, and what may be written for one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ppl_models import InvalidInput, Ordering
from ppl_models.ordering import (
    DATA_ORDERINGS,
    ORDERINGS,
    as_ordering,
    by_entropy,
    by_mutual_information,
    from_images,
    image_shape,
    is_from_images,
    local_search,
    optimal,
)


def test_rank_is_the_inverse_of_sequence_on_an_order_that_is_not_its_own_inverse() -> None:
    ordering = Ordering((2, 0, 3, 1))
    assert ordering.rank == (1, 3, 0, 2)
    assert all(ordering.rank[pixel] == step for step, pixel in enumerate(ordering.sequence))


@pytest.mark.parametrize("name", sorted(ORDERINGS))
@pytest.mark.parametrize("data_dim", [1, 2, 7])
def test_every_named_ordering_is_a_permutation(name: str, data_dim: int) -> None:
    assert sorted(as_ordering(name, data_dim).sequence) == list(range(data_dim))


def test_named_orderings_generate_what_their_names_say() -> None:
    assert as_ordering("raster", 4).sequence == (0, 1, 2, 3)
    assert as_ordering("reversed", 4).sequence == (3, 2, 1, 0)
    assert as_ordering("shifted:1", 4).sequence == (1, 2, 3, 0)
    assert as_ordering("shifted:6", 4) == as_ordering("shifted:2", 4) == Ordering((2, 3, 0, 1))
    assert as_ordering("shifted", 4) == as_ordering("shifted:1", 4)
    assert as_ordering("random:5", 50) == as_ordering("random:5", 50) != as_ordering("random:6", 50)
    assert as_ordering("random", 50) == as_ordering("random:0", 50)


def test_a_random_ordering_is_the_same_in_every_version() -> None:
    """A run names its seed, and must be built again."""
    assert as_ordering("random:1", 6).sequence == (2, 3, 5, 0, 4, 1)


@pytest.mark.parametrize(
    "spec", [(2, 0, 1), [2, 0, 1], Ordering((2, 0, 1)), torch.tensor([2, 0, 1]), np.array([2, 0, 1])]
)
def test_whatever_lists_the_pixels_is_an_ordering(spec: object) -> None:
    assert as_ordering(spec, 3).sequence == (2, 0, 1)
    assert all(type(pixel) is int for pixel in as_ordering(spec, 3).sequence)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("spiralling", "did you mean spiral"),
        ("snakes", "did you mean snake"),
        ("by_mutual_info", "did you mean by_mutual_information"),
        ("", "known: "),
        ("random:x", "random:SEED"),
        ("random:", "random:SEED"),
        ("random:-1", "random:SEED"),
        ("random:²", "random:SEED"),
        ("random:" + "9" * 5000, "random:SEED"),
        ("shifted:1.5", "shifted:SHIFT"),
        ("raster:2", "write raster"),
        ("hilbert:in", "write raster"),
        ("spiral:", "spiral:DIRECTION"),
        ("spiral:our", "did you mean out"),
        ("by_entropy", r"none are given; compute it with ppl_models.ordering.by_entropy, or .* inference.train"),
        ("local_search:100", "ppl_models.ordering.local_search"),
        ((0, 0, 1), "no permutation of 0..2"),
        ((1, 2, 3), "no permutation"),
        ((0, 1), "images have 3 pixels"),
        (Ordering((0, 1)), "images have 3 pixels"),
        (tuple(range(100)), "100 entries.*images have 3 pixels"),
        ((), "no permutation"),
        ((0.5, 1.0, 2.0), "whole numbers"),
        (("0", "1", "2"), "whole numbers"),
        (3, "whole numbers"),
        (None, "whole numbers"),
    ],
)
def test_what_is_no_ordering_is_refused_in_one_line(spec: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        as_ordering(spec, 3)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("ordering")


def test_an_ordering_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Ordering((0, 1)).sequence = (1, 0)  # type: ignore[misc]


def test_image_shape_is_a_square_or_a_row_unless_given() -> None:
    assert image_shape(9) == (1, 3, 3)
    assert image_shape(10) == (1, 1, 10)
    assert image_shape(12, [3, 2, 2]) == (3, 2, 2)


@pytest.mark.parametrize(
    ("shape", "message"), [((1, 2, 2), "6 pixels"), ((2, 3), "no image geometry"), ((-1, -2, 3), "no image geometry")]
)
@pytest.mark.parametrize("name", ["raster", "reversed", "shifted", "columns", "snake", "spiral", "hilbert"])
def test_a_shape_of_another_size_is_refused(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        as_ordering(name, 6, shape)


def test_the_two_tables_share_no_name() -> None:
    """A name means one thing."""
    assert not ORDERINGS.keys() & DATA_ORDERINGS.keys()
    assert all(is_from_images(name) for name in DATA_ORDERINGS)
    assert not any(is_from_images(spec) for spec in [*ORDERINGS, (0, 1), None, "by"])


def test_names_of_orderings_that_are_found_from_images() -> None:
    x, valid = (torch.rand(50, 5) < torch.linspace(0.1, 0.6, 5)).float(), (torch.rand(20, 5) < 0.5).float()
    found = {
        "by_entropy": by_entropy(x),
        "by_mutual_information": by_mutual_information(x),
        "by_mutual_information:chow_liu": by_mutual_information(x, method="chow_liu"),
        "optimal": optimal(x, valid),
        "local_search:7": local_search(x, valid, num_swaps=7).ordering,
    }
    assert {name: from_images(name, x, valid) for name in found} == found


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("by_entropy:1", "write by_entropy"),
        ("optimal:2", "local_search:SWAPS"),
        ("local_search:many", "local_search:SWAPS"),
        ("by_mutual_information:chow", "did you mean chow_liu"),
        ("by_mutual_information:", "by_mutual_information:METHOD"),
        ("raster", "known: "),
    ],
)
def test_what_finds_no_ordering_is_refused(spec: str, message: str) -> None:
    x = torch.zeros(4, 3)
    with pytest.raises(InvalidInput, match=message):
        from_images(spec, x, x)
