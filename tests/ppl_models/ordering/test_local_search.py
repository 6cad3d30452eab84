"""The local search: it climbs, on planted data far, and fits no more than a swap changes."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from ppl_models import Ordering
from ppl_models.ordering import Search, by_mutual_information, local_search, logistic, logistic_nll, optimal, raster


def cause_and_effects(num: int, seed: int) -> Tensor:
    """Pixels 0..2 say what most of the fair pixels 3..7 are, with noise: a logistic regression predicts effects from
    causes well, and the last causes from effects and other causes badly, since they tell more the closer the vote."""
    rng = np.random.default_rng(seed)
    causes = (rng.random((num, 5)) < 0.5).astype(int)
    effects = (causes.sum(1) >= 3)[:, None] ^ (rng.random((num, 3)) < 0.02)
    return torch.tensor(np.concatenate([effects, causes], 1)).float()


@pytest.mark.parametrize("start", [raster(8), None, Ordering((7, 6, 5, 4, 3, 2, 1, 0))], ids=str)
def test_local_search_climbs(images, start: Ordering | None) -> None:
    train, valid = images(600, 8).split([400, 200])
    found = local_search(train, valid, start, num_swaps=60, seed=1)
    assert isinstance(found, Search)
    assert len(found.scores) == 61
    assert all(later >= earlier for earlier, later in pairwise(found.scores))
    first = by_mutual_information(train) if start is None else start
    assert found.scores[0] == pytest.approx(-logistic_nll(first, train, valid), abs=1e-9)
    assert found.scores[-1] == pytest.approx(-logistic_nll(found.ordering, train, valid), abs=1e-9)
    assert found.scores[-1] <= -logistic_nll(optimal(train, valid), train, valid) + 1e-9


def test_local_search_improves_on_a_planted_problem() -> None:
    train, valid = cause_and_effects(1000, 0), cause_and_effects(1000, 1)
    found = local_search(train, valid, raster(8), num_swaps=120)
    best = -logistic_nll(optimal(train, valid), train, valid)
    assert found.scores[-1] > found.scores[0] + 0.05
    assert found.scores[-1] > found.scores[0] + 0.9 * (best - found.scores[0])
    again = local_search(train, valid, raster(8), num_swaps=120)
    assert again == found
    assert local_search(train, valid, raster(8), num_swaps=20, seed=5).scores != found.scores[:21]


def test_local_search_fits_only_what_a_swap_changes_and_nothing_twice(images, monkeypatch) -> None:
    """All D at first, and then two for two neighbours; what a later proposal brings back is known."""
    fitted: list[tuple[int, int]] = []
    original = logistic.Conditionals._fit

    def counted(self: logistic.Conditionals, pixel: int, earlier: int) -> float:
        fitted.append((pixel, earlier))
        return original(self, pixel, earlier)

    monkeypatch.setattr(logistic.Conditionals, "_fit", counted)
    train = images(100, 9)
    for num_swaps, expected in ((0, 9), (1, 9 + 2)):
        fitted.clear()
        local_search(train, train, raster(9), num_swaps=num_swaps)
        assert len(fitted) == expected
    fitted.clear()
    local_search(train, train, raster(9), num_swaps=40)
    assert len(fitted) == len(set(fitted)) < 9 + 20 * 2 + 20 * 9


def test_a_search_without_swaps_or_pixels_to_swap_keeps_its_start(images) -> None:
    x = images(30, 4)
    assert local_search(x, x, raster(4), num_swaps=0).ordering == raster(4)
    assert local_search(x[:, :1], x[:, :1], num_swaps=5).ordering == raster(1)
    assert optimal(x[:, :1]) == raster(1)


def test_sixty_four_pixels_are_searched_in_seconds() -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.random((1500, 64)) < 0.3).float()
    x[:, 32:] = torch.where(torch.rand(1500, 32) < 0.7, x[:, :32], x[:, 32:])
    start = time.process_time()
    found = local_search(x[:1200], x[1200:], raster(64), num_swaps=20)
    assert time.process_time() - start < 10
    assert found.scores[-1] >= found.scores[0]
