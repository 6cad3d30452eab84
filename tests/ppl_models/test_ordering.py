from __future__ import annotations

import pytest

from ppl_models import InvalidInput, Ordering
from ppl_models.ordering import ORDERINGS, as_ordering


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
    assert as_ordering("random:5", 50) == as_ordering("random:5", 50) != as_ordering("random:6", 50)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("spiralling", "did you mean|known: "),
        ("random:x", "random:SEED"),
        ("raster:2", "write raster"),
        ((0, 0, 1), "no permutation of 0..2"),
        ((1, 2, 3), "no permutation"),
        ((0, 1), "images have 3 pixels"),
        ((), "no permutation"),
    ],
)
def test_what_is_no_ordering_is_refused_in_one_line(spec: str | tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        as_ordering(spec, 3)
    assert "\n" not in str(caught.value)


def test_an_ordering_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Ordering((0, 1)).sequence = (1, 0)  # type: ignore[misc]
