"""Orderings searched for by how well they let pixels be predicted: p(x) = prod_t p(x_t | x_<t) with logistic
conditionals (``ppl_models.ordering.logistic``), the FVSBN of Frey (1998), whose likelihood depends on the order."""

from __future__ import annotations

import random
from dataclasses import dataclass

from torch import Tensor

from ..errors import InvalidInput
from .base import Ordering
from .from_data import by_mutual_information
from .logistic import Conditionals, checked_binary, nll_of_subsets

MAX_OPTIMAL = 12
# Nats per image below which a difference is rounding: of ties, and of what counts as better.
TIE = 1e-9


def logistic_nll(ordering: Ordering, x: Tensor, x_score: Tensor | None = None, l2: float = 1.0) -> float:
    """-sum_t log p(x_t | x_<t) under logistic conditionals fitted on x, in nats, mean over the images scored.

    Args:
        ordering: of the D pixels.
        x: binary images to fit to (N, D).
        x_score: binary images to score on (M, D); x unless given.
        l2: strength of the ridge on the summed negative log-likelihood.

    Raises:
        InvalidInput: if the images are not binary or of another D.
    """
    x, scored = checked_binary(x, x_score, l2, "logistic_nll")
    _check_length(ordering, x)
    conditionals, sequence = Conditionals(x, scored, l2), ordering.sequence
    return sum(_terms(conditionals, sequence, 0, len(sequence)))


def optimal(x: Tensor, x_score: Tensor | None = None, l2: float = 1.0) -> Ordering:
    """The ordering of least ``logistic_nll`` among all D!, by dynamic programming over sets of pixels, for D <= 12.

    The cost of a pixel depends on the set of pixels before it and not on their order, so that the best way to go on
    from each of 2^D sets is found from those one larger (Silander & Myllymaki 2006, for networks without a
    given order). It takes D 2^(D-1) regressions. Of orders that tie (to 1e-9 nats) it is the first in lexicographic
    order. ``logistic_nll(optimal(x), x)`` is its total.

    Args:
        x: binary images to fit the conditionals to (N, D).
        x_score: binary images to score them on (M, D); x unless given.
        l2: strength of the ridge on the summed negative log-likelihood.

    Raises:
        InvalidInput: for more than 12 pixels, or images that are not binary or of another D.
    """
    x, scored = checked_binary(x, x_score, l2, "optimal")
    if x.shape[1] > MAX_OPTIMAL:
        problem = f"the best of all orders is searched for up to {MAX_OPTIMAL} pixels, and there are {x.shape[1]}"
        remedy = "use by_mutual_information, by_entropy or local_search"
        raise InvalidInput("ordering", "optimal", problem, remedy)
    return Ordering(best_sequence(nll_of_subsets(x, scored, l2)))


def best_sequence(nll: Tensor) -> tuple[int, ...]:
    """The sequence of least total cost: ``nll[mask, i]`` is the cost of pixel i after the set whose bits are in
    ``mask``, (2^D, D)."""
    cost, data_dim = nll.tolist(), nll.shape[1]
    full = 2**data_dim - 1
    to_go = [0.0] * (full + 1)

    def via(mask: int, pixel: int) -> float:
        return cost[mask][pixel] + to_go[mask | 1 << pixel]

    for mask in range(full - 1, -1, -1):
        to_go[mask] = min(via(mask, pixel) for pixel in range(data_dim) if not mask >> pixel & 1)
    sequence: list[int] = []
    mask = 0
    while mask != full:
        missing = (pixel for pixel in range(data_dim) if not mask >> pixel & 1)
        sequence.append(next(pixel for pixel in missing if via(mask, pixel) <= to_go[mask] + TIE))
        mask |= 1 << sequence[-1]
    return tuple(sequence)


@dataclass(frozen=True)
class Search:
    """What a local search found.

    Args:
        ordering: the best ordering seen.
        scores: held-out log-likelihood of the ordering held, in nats, mean over the images: of the start, and after
            each proposal. It never goes down; the last is that of ``ordering``.
    """

    ordering: Ordering
    scores: tuple[float, ...]


def local_search(
    x_train: Tensor,
    x_valid: Tensor,
    start: Ordering | None = None,
    num_swaps: int = 500,
    seed: int = 0,
    l2: float = 1.0,
) -> Search:
    """Swap two pixels of an ordering at a time, and keep a swap if it raises the held-out log-likelihood.

    Proposals are in turn two consecutive pixels and any two pixels. The likelihood is -``logistic_nll``, fitted on
    ``x_train`` and scored on ``x_valid``. A swap changes the conditionals of the pixels it swaps and of those in
    between, and only these are fitted again: D / 6 or so on average. It is a hill climb: it ends in a local optimum,
    and its score is of the images it was chosen on, so it flatters.

    A regression costs O(N D^2) operations per Newton step and O(N D) memory.

    Args:
        x_train: binary images to fit to (N, D).
        x_valid: binary images to score on (M, D).
        start: where to start; ``by_mutual_information(x_train)`` unless given.
        num_swaps: number of proposals.
        seed: of the proposals.
        l2: strength of the ridge on the summed negative log-likelihood.

    Raises:
        InvalidInput: for images that are not binary or of another D, another length of ``start``, or a negative number.
    """
    x_train, x_valid = checked_binary(x_train, x_valid, l2, "local_search")
    if num_swaps < 0:
        raise InvalidInput("num_swaps", num_swaps, "is no number of proposals", "give 0 or more")
    start = by_mutual_information(x_train) if start is None else start
    _check_length(start, x_train)
    conditionals, rng = Conditionals(x_train, x_valid, l2), random.Random(seed)
    sequence = list(start.sequence)
    terms = _terms(conditionals, sequence, 0, len(sequence))
    scores = [-sum(terms)]
    for number in range(num_swaps if len(sequence) > 1 else 0):
        first, last = _proposal(rng, len(sequence), adjacent=number % 2 == 0)
        proposed = list(sequence)
        proposed[first], proposed[last] = sequence[last], sequence[first]
        changed = _terms(conditionals, proposed, first, last + 1)
        if sum(changed) < sum(terms[first : last + 1]) - TIE:
            sequence, terms[first : last + 1] = proposed, changed
        scores.append(-sum(terms))
    return Search(Ordering(tuple(sequence)), tuple(scores))


def _proposal(rng: random.Random, data_dim: int, *, adjacent: bool) -> tuple[int, int]:
    """Two steps of the order, the earlier first."""
    if adjacent:
        first = rng.randrange(data_dim - 1)
        return first, first + 1
    first, last = sorted(rng.sample(range(data_dim), 2))
    return first, last


def _terms(conditionals: Conditionals, sequence: list[int] | tuple[int, ...], first: int, last: int) -> list[float]:
    """The costs of the steps first..last-1 of a sequence."""
    earlier = sum(1 << pixel for pixel in sequence[:first])
    terms = []
    for pixel in sequence[first:last]:
        terms.append(conditionals.nll(pixel, earlier))
        earlier |= 1 << pixel
    return terms


def _check_length(ordering: Ordering, x: Tensor) -> None:
    if len(ordering) != x.shape[1]:
        problem = f"the images have {x.shape[1]} pixels"
        raise InvalidInput("ordering", f"{len(ordering)} entries", problem, "order all pixels")
