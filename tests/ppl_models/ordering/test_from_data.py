"""Entropies and informations against plain loops in numpy, and the orders they give on planted data."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.ordering import by_entropy, by_mutual_information, chow_liu_tree, entropy, from_data, mutual_information


def dependent(num: int, data_dim: int, levels: int) -> Tensor:
    """Pixels that follow each other loosely, all with different frequencies."""
    rng = np.random.default_rng(levels)
    x = rng.integers(0, levels, (num, data_dim))
    for i in range(1, data_dim):
        keep = rng.random(num) < 0.1 + 0.8 * i / data_dim
        x[:, i] = np.where(keep, (x[:, i - 1] + i) % levels, np.minimum(x[:, i], i % levels))
    return torch.tensor(x).float()


def clustered(num: int, data_dim: int, levels: int) -> Tensor:
    """Pixels that depend on one hidden cluster, so that each tells a little of all others."""
    rng = np.random.default_rng(levels + 1)
    tables = rng.dirichlet(np.full(levels, 0.5), (4, data_dim))
    cluster = rng.integers(0, 4, num)
    x = (rng.random((num, data_dim, 1)) > tables[cluster].cumsum(-1)).sum(-1).clip(max=levels - 1)
    return torch.tensor(x).float()


def entropy_by_loops(x: np.ndarray, levels: int) -> np.ndarray:
    out = np.zeros(x.shape[1])
    for i in range(x.shape[1]):
        for a in range(levels):
            p = np.mean(x[:, i] == a)
            out[i] -= p * np.log(p) if p > 0 else 0
    return out


def information_by_loops(x: np.ndarray, levels: int) -> np.ndarray:
    """The documented estimate: one pseudo-image with independent pixels."""
    num, data_dim = x.shape
    out = np.diag(entropy_by_loops(x, levels))
    for i, j in combinations(range(data_dim), 2):
        for a in range(levels):
            for b in range(levels):
                product = np.mean(x[:, i] == a) * np.mean(x[:, j] == b)
                joint = (np.sum((x[:, i] == a) & (x[:, j] == b)) + product) / (num + 1)
                if joint > 0:
                    out[i, j] += joint * np.log(joint / product)
        out[j, i] = out[i, j]
    return out


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("chunk", [None, 40])
def test_entropy_and_information_are_those_of_plain_loops(levels: int, chunk: int | None, monkeypatch) -> None:
    if chunk:  # so small that images and pairs come in several pieces
        monkeypatch.setattr(from_data, "CHUNK", chunk)
    x = dependent(101, 6, levels)
    np.testing.assert_allclose(entropy(x, levels), entropy_by_loops(x.numpy(), levels), atol=1e-10)
    np.testing.assert_allclose(mutual_information(x, levels), information_by_loops(x.numpy(), levels), atol=1e-10)


def test_information_of_a_copy_and_of_independent_pixels() -> None:
    """Closed forms: a fair bit tells log 2 of its copy; pixels whose counts are exactly independent tell nothing."""
    grid = torch.cartesian_prod(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])).repeat(25_000, 1)
    information = mutual_information(torch.cat([grid, 1 - grid[:, :1]], 1))
    assert information[0, 1] == information[1, 2] == 0
    assert information[0, 2] == pytest.approx(np.log(2), abs=1e-3)
    assert torch.equal(information, information.T)


def test_by_entropy_sorts_and_ties_go_to_the_lower_index() -> None:
    ones = torch.tensor([1, 4, 9, 2, 6, 5, 0, 8])  # of 10 images; 1 and 9, 4 and 6, 2 and 8 tie
    x = (torch.arange(10)[:, None] < ones).float()
    assert by_entropy(x).sequence == (5, 1, 4, 3, 7, 0, 2, 6)
    assert by_entropy(x, descending=False).sequence == (6, 0, 2, 3, 7, 1, 4, 5)


@pytest.mark.parametrize("levels", [2, 4])
def test_greedy_takes_the_largest_sum_of_informations_next(levels: int) -> None:
    x = clustered(300, 8, levels)
    information = information_by_loops(x.numpy(), levels)
    expected = [int(np.argmax(np.diag(information)))]
    while len(expected) < 8:
        rest = [i for i in range(8) if i not in expected]
        expected.append(max(rest, key=lambda i: sum(information[i, j] for j in expected)))
    assert list(by_mutual_information(x, levels).sequence) == expected
    single = [expected[0]]  # the data tell a sum from a maximum
    while len(single) < 8:
        rest = [i for i in range(8) if i not in single]
        single.append(max(rest, key=lambda i: max(information[i, j] for j in single)))
    assert single != expected


def chain(order: list[int], num: int, flip: float) -> Tensor:
    """x[order[0]] is fair, and each next pixel of the order copies the last one but for a share of flips."""
    x = torch.zeros(num, len(order))
    x[:, order[0]] = (torch.rand(num) < 0.5).float()
    for before, pixel in pairwise(order):
        x[:, pixel] = (x[:, before] - (torch.rand(num) < flip).float()).abs()
    return x


def test_chow_liu_recovers_a_chain() -> None:
    order = [3, 0, 6, 2, 7, 1, 5, 4]
    x = chain(order, 4000, 0.1)
    neighbours = {frozenset(pair) for pair in pairwise(order)}
    parents = chow_liu_tree(mutual_information(x), root=3)
    assert parents == (3, 7, 6, -1, 5, 1, 0, 2)
    assert {frozenset((i, p)) for i, p in enumerate(parents) if p >= 0} == neighbours
    sequence = by_mutual_information(x, method="chow_liu").sequence
    jumps = [pair for pair in pairwise(sequence) if frozenset(pair) not in neighbours]
    assert len(jumps) <= 1  # one arm of the chain to its end, then the other


def test_chow_liu_is_walked_from_the_most_uncertain_pixel_and_heaviest_edge_first() -> None:
    """A star with arms of two around pixel 2: the arm that copies best comes first, and to its end."""
    num = 20_000
    hub = (torch.rand(num) < 0.5).float()

    def copy(x: Tensor, keep: float) -> Tensor:
        return torch.where(torch.rand(num) < keep, x, torch.zeros(num))  # drifts to 0, so the hub has most entropy

    weak, strong = copy(hub, 0.7), copy(hub, 0.9)
    x = torch.stack([weak, copy(weak, 0.95), hub, copy(strong, 0.6), strong], 1)
    assert by_mutual_information(x, method="chow_liu").sequence == (2, 4, 3, 0, 1)


def test_chow_liu_is_the_heaviest_of_all_trees() -> None:
    """Against every set of D - 1 edges that connects five pixels."""
    x = dependent(60, 5, 2)
    information = information_by_loops(x.numpy(), 2)

    def connects(edges) -> bool:
        group = {0}
        for _ in range(5):
            group |= {i for edge in edges if group & set(edge) for i in edge}
        return len(group) == 5

    trees = [edges for edges in combinations(combinations(range(5), 2), 4) if connects(edges)]
    assert len(trees) == 125  # Cayley: 5^3
    best = max(sum(information[i, j] for i, j in edges) for edges in trees)
    parents = chow_liu_tree(mutual_information(x))
    assert sum(information[i, p] for i, p in enumerate(parents) if p >= 0) == pytest.approx(best)


@pytest.mark.parametrize("method", ["greedy", "chow_liu"])
def test_constant_and_equal_pixels_keep_their_own_order(method: str) -> None:
    x = torch.zeros(9, 6)
    assert by_mutual_information(x, method=method).sequence == tuple(range(6))
    x = (torch.arange(9)[:, None] < 4).float().repeat(1, 6)
    assert by_mutual_information(x, method=method).sequence == tuple(range(6))
    x[:, 2] = 1
    assert by_mutual_information(x, method=method).sequence == (0, 1, 3, 4, 5, 2)


@pytest.mark.parametrize("find", [by_entropy, by_mutual_information])
@pytest.mark.parametrize(
    ("x", "levels", "message"),
    [
        ([[0.0]], 2, "float tensor"),
        (torch.zeros(3, 2, dtype=torch.long), 2, "float tensor"),
        (torch.zeros(3), 2, "flatten"),
        (torch.zeros(0, 4), 2, "at least one"),
        (torch.zeros(4, 0), 2, "at least one"),
        (torch.full((3, 2), float("nan")), 2, "finite"),
        (torch.full((3, 2), 2.0), 2, "no pixel value of 2 levels.*levels"),
        (torch.full((3, 2), 0.5), 2, "binarize"),
        (torch.full((3, 2), -1.0), 2, "0..1"),
        (torch.zeros(3, 2), 1, "at least two values"),
    ],
)
def test_what_are_no_images_is_refused(find, x: Tensor, levels: int, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        find(x, levels)


def test_other_bad_input() -> None:
    with pytest.raises(InvalidInput, match="did you mean chow_liu"):
        by_mutual_information(torch.zeros(3, 2), method="chowliu")
    with pytest.raises(InvalidInput, match=r"levels 256: with 784 pixels makes 200704.*by_entropy"):
        by_mutual_information(torch.zeros(3, 784), levels=256)
