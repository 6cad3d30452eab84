"""The exact search against every order, with conditionals fitted by scikit-learn."""

from __future__ import annotations

import time
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ppl_models import InvalidInput, Ordering
from ppl_models.ordering import (
    as_ordering,
    by_mutual_information,
    local_search,
    logistic,
    logistic_nll,
    optimal,
    raster,
)
from ppl_models.ordering.logistic import checked_binary, fit_logistic, nll_of_subsets
from ppl_models.ordering.search import best_sequence

L2 = 0.7


def sklearn_nll(x: np.ndarray, scored: np.ndarray, pixel: int, earlier: list[int], l2: float) -> float:
    """-log p(x_i | x_S) in nats by scikit-learn, the bias penalised as a feature of ones."""
    y, target = x[:, pixel], scored[:, pixel]

    def design(images: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones((len(images), 1)), images[:, earlier] - 0.5], 1)

    model = LogisticRegression(C=1 / l2, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    log_odds = model.fit(design(x), y).decision_function(design(scored))
    return float(np.mean(np.logaddexp(0, np.where(target == 1, -log_odds, log_odds))))


def totals_of_all_orders(x: Tensor, scored: Tensor, l2: float) -> dict[tuple[int, ...], float]:
    """What each of the D! orders costs."""
    fitted, held = x.double().numpy(), scored.double().numpy()
    known: dict[tuple[int, frozenset[int]], float] = {}
    totals = {}
    for order in permutations(range(x.shape[1])):
        totals[order] = 0.0
        for step, pixel in enumerate(order):
            key = pixel, frozenset(order[:step])
            if key not in known:
                known[key] = sklearn_nll(fitted, held, pixel, sorted(order[:step]), l2)
            totals[order] += known[key]
    return totals


@pytest.mark.parametrize(
    ("data_dim", "held_out"), [(1, False), (2, True), (3, False), (4, True), (5, False), (5, True)]
)
def test_optimal_is_the_best_of_all_orders(images, data_dim: int, held_out: bool) -> None:
    x, other = images(80, data_dim), images(60, data_dim)
    totals = totals_of_all_orders(x, other if held_out else x, L2)
    found = optimal(x, other if held_out else None, l2=L2)
    assert totals[found.sequence] == pytest.approx(min(totals.values()), abs=1e-6)
    for order in list(totals)[:: max(1, len(totals) // 10)]:
        ours = logistic_nll(Ordering(order), x, other if held_out else None, l2=L2)
        assert ours == pytest.approx(totals[order], abs=1e-6)
    if data_dim >= 4:  # the case tells orders apart
        assert max(totals.values()) > min(totals.values()) + 0.01


def test_optimal_is_the_best_of_all_orders_of_six_pixels(images) -> None:
    x, other = images(200, 6), images(100, 6, seed=1)
    totals = totals_of_all_orders(x, other, L2)
    assert totals[optimal(x, other, l2=L2).sequence] == pytest.approx(min(totals.values()), abs=1e-6)


def test_the_table_of_conditionals_is_that_of_scikit_learn(images) -> None:
    x, other = images(70, 4), images(50, 4, seed=2)
    table = nll_of_subsets(x, other, L2)
    for mask in range(16):
        earlier = [i for i in range(4) if mask >> i & 1]
        for pixel in range(4):
            if pixel in earlier:
                assert table[mask, pixel] == torch.inf
            else:
                truth = sklearn_nll(x.numpy(), other.numpy(), pixel, earlier, L2)
                assert float(table[mask, pixel]) == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("data_dim", [1, 2, 3, 6])
def test_the_best_sequence_of_any_table_of_costs(data_dim: int) -> None:
    """Against every order, on costs that no regression would give."""
    for seed in range(5):
        cost = torch.rand(2**data_dim, data_dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

        def total(order: tuple[int, ...], cost: Tensor = cost) -> float:
            masks = [sum(1 << i for i in order[:step]) for step in range(len(order))]
            return sum(float(cost[mask, pixel]) for mask, pixel in zip(masks, order, strict=True))

        assert best_sequence(cost) == min(permutations(range(data_dim)), key=total)


def test_ties_go_to_the_first_order() -> None:
    assert best_sequence(torch.zeros(32, 5)) == (0, 1, 2, 3, 4)
    assert optimal(torch.zeros(9, 4)).sequence == (0, 1, 2, 3)
    x = (torch.rand(400, 1) < 0.3).float().repeat(1, 4)
    assert optimal(x).sequence == (0, 1, 2, 3)
    cost = torch.zeros(4, 2, dtype=torch.float64)
    cost[0, 0] = 1e-12  # rounding
    assert best_sequence(cost) == (0, 1)


def test_the_cost_of_the_optimum_is_that_of_its_order_and_the_least(images) -> None:
    """Two ways to the same conditionals: over all cells of a set, and over the distinct images."""
    x, other = images(150, 7), images(90, 7)
    table = nll_of_subsets(x, other, L2)
    found, mask, total = optimal(x, other, l2=L2), 0, 0.0
    for pixel in found.sequence:
        total += float(table[mask, pixel])
        mask |= 1 << pixel
    assert total == pytest.approx(logistic_nll(found, x, other, l2=L2), abs=1e-9)
    for seed in range(20):
        assert logistic_nll(as_ordering(f"random:{seed}", 7), x, other, l2=L2) >= total - 1e-9


def test_no_cost_changes_when_a_pixel_names_its_values_the_other_way_round(images) -> None:
    x, other = images(100, 5), images(50, 5)
    flipped, other_flipped = x.clone(), other.clone()
    flipped[:, 2], other_flipped[:, 2] = 1 - x[:, 2], 1 - other[:, 2]
    torch.testing.assert_close(nll_of_subsets(x, other, L2), nll_of_subsets(flipped, other_flipped, L2))


@pytest.mark.parametrize("l2", [1e-3, 1.0, 1e4])
def test_regressions_reach_their_optimum_from_anywhere(images, l2: float, monkeypatch) -> None:
    """Separable pixels, far starts and rows in pieces: the gradient, written out here, vanishes."""
    monkeypatch.setattr(logistic, "CHUNK", 50)
    x = torch.cat([images(60, 4), images(60, 4)[:, :1]], 1)  # the last pixel is a copy of the first
    design = torch.cat([torch.ones(60, 1), x[:, :4] - 0.5], 1).double()
    ones = torch.stack([x[:, 4], x[:, 1], torch.zeros(60)]).double()
    total = torch.ones(3, 60, dtype=torch.float64)
    for start in (None, 30 * torch.randn(3, 5, dtype=torch.float64)):
        weights = fit_logistic(design, total, ones, l2, start)
        gradient = (torch.sigmoid(weights @ design.T) - ones) @ design + l2 * weights
        assert gradient.abs().max() < 1e-6


def test_twelve_pixels_take_seconds(images) -> None:
    x, start = images(500, 12), time.process_time()
    found = optimal(x)
    assert time.process_time() - start < 30
    assert logistic_nll(found, x) <= logistic_nll(by_mutual_information(x), x) + 1e-9


GREY = torch.tensor([[0.0, 2.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: optimal(torch.zeros(5, 13)),
            "12 pixels, and there are 13; use by_mutual_information, by_entropy or local_search",
        ),
        (lambda: optimal(GREY), r"x 2.0: optimal fits .* binary images only"),
        (lambda: local_search(GREY, GREY), r"x 2.0: local_search fits .* binary images only"),
        (lambda: optimal(torch.full((3, 2), 0.5)), "binarize"),
        (lambda: optimal(torch.zeros(3, 2), torch.zeros(3, 4)), r"x_score \(3, 4\)"),
        (lambda: optimal(torch.zeros(3, 2), GREY), "x_score 2.0"),
        (lambda: optimal(torch.zeros(3, 2), l2=0.0), "l2 0.0"),
        (lambda: optimal(torch.zeros(3, 2), l2=float("nan")), "l2 nan"),
        (lambda: optimal([[0.0]]), "float tensor"),
        (lambda: optimal(torch.zeros(0, 2)), "at least one"),
        (lambda: local_search(torch.zeros(3, 2), torch.zeros(3, 2), raster(3)), "images have 2 pixels"),
        (lambda: local_search(torch.zeros(3, 2), torch.zeros(3, 2), num_swaps=-1), "num_swaps -1"),
        (lambda: logistic_nll(raster(3), torch.zeros(3, 2)), "images have 2 pixels"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_images_on_the_gradient_tape_are_taken_off_it(images) -> None:
    x = images(40, 3).requires_grad_()
    fitted, scored = checked_binary(x, None, 1.0, "here")
    assert not fitted.requires_grad
    assert scored is fitted
    assert len(optimal(x)) == 3
