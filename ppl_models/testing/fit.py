"""Do draws come from the density that is claimed of them? Tests that know nothing of the family.

**Densities.** With q the claimed density and any density r, both

    a = E_r[sqrt(q(z) / r(z))]    and    b = E[sqrt(r(z) / q(z))], z drawn as q draws

estimate the integral of sqrt(q r) where the draws are q's and q integrates to 1 (bridge sampling with the geometric
bridge: Meng & Wong 1996). A factor c in q makes a / b equal to c; a wrong scale, shift or shape moves it too. No square
under these means exceeds 1 in expectation, whatever the tails. r is the normal distribution with mean and covariance of
other draws, in coordinates without constraints; the ratio is 1 up to noise of a few thousandths.

**Probabilities.** Where at most 4096 values are possible they are summed, and the draws are counted against them (the
chi-square test). Beyond, r is the product of the draws' marginals in the identity above.

The level is 0.0005 for all rows together (Holm 1979): a sound distribution fails once in two thousand seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pyro.distributions as dist
import torch
from torch import Tensor

from ..distributions.binary_code import free_levels, is_one_hot
from .coordinates import RealVectors, Site, joint_states
from .report import Failure, Skip, holm, two_sided
from .sampler import LEVEL, REMEDY, Sampler, normal_of

# Relative differences that float32 log-densities may have, and least overlap of q and r of which a mean says something.
ROUNDING, LEAST_OVERLAP = 1e-4, 0.05
TOLERANCE_OF_SUM = 1e-3


@torch.no_grad()
def check_fit(sampler: Sampler, num_draws: int = 4000) -> str:
    """Raise ``Failure`` unless the draws fit their density; returns a remark.

    Raises:
        Failure: if they do not.
        Skip: if the draws are of a kind for which there is no test.
    """
    kinds = {site.discrete for site in sampler.sites}
    if len(kinds) > 1:
        raise Skip("some of the sites are continuous and some discrete")
    if kinds == {False}:
        return _densities(sampler, num_draws)
    try:
        states = joint_states(sampler.sites)
    except Skip:
        return _many_values(sampler, num_draws)
    return _few_values(sampler, states, num_draws)


def _densities(sampler: Sampler, num_draws: int) -> str:
    fitted, values = sampler.draw(num_draws), sampler.draw(num_draws)
    coordinates = RealVectors(sampler.sites, values)
    r = normal_of(coordinates.flat(fitted))
    others = r.sample((num_draws,))
    images, jacobian = coordinates.back(others)
    log_a = (_claimed(sampler, images) + jacobian - r.log_prob(others)) / 2
    vectors = coordinates.flat(values)
    _, jacobian = coordinates.back(vectors)
    log_b = (r.log_prob(vectors) - _claimed(sampler, values) - jacobian) / 2
    return compare(log_a, log_b)


def _claimed(sampler: Sampler, values: Mapping[str, Tensor]) -> Tensor:
    log_prob = sampler.score(values).double()
    if log_prob.isnan().any():
        raise Failure(f"log_prob is NaN at values inside the support; {REMEDY}")
    return log_prob


def compare(log_a: Tensor, log_b: Tensor) -> str:
    """The two means of every row against each other: log square roots (M, N) each.

    Raises:
        Failure: if they differ.
        Skip: if r and q hardly overlap.
    """
    # The geometric mean of the two estimates the overlap of q and r whatever constant is missing in q.
    overlap = ((log_a.logsumexp(0) + log_b.logsumexp(0)) / 2 - math.log(len(log_a))).exp()
    if not (overlap > LEAST_OVERLAP).any():
        raise Skip("the draws are too far from a normal distribution for this test")
    a, b = log_a[:, overlap > LEAST_OVERLAP].exp(), log_b[:, overlap > LEAST_OVERLAP].exp()
    variance = a.var(0) / len(a) + b.var(0) / len(b) + (ROUNDING * a.mean(0)).square()
    z, ratio = (a.mean(0) - b.mean(0)) / variance.sqrt(), a.mean(0) / b.mean(0)
    rejected = holm([two_sided(value) for value in z.tolist()], LEVEL)
    if rejected:
        worst = rejected[0]
        raise Failure(
            f"the draws are not from log_prob's density: their ratio of masses is {float(ratio[worst]):.4g} where 1 is "
            f"right, by {abs(float(z[worst])):.0f} standard errors; {REMEDY}"
        )
    return f"ratio {float(ratio.mean()):.4f}"


def _few_values(sampler: Sampler, states: Mapping[str, Tensor], num_draws: int) -> str:
    draws = sampler.draw(num_draws)
    first = next(iter(draws.values()))
    rows, number = first.shape[1], len(next(iter(states.values())))
    everywhere = {
        name: value.to(draws[name]).unsqueeze(1).expand(number, rows, *value.shape[1:])
        for name, value in states.items()
    }
    log_prob = _claimed(sampler, everywhere)
    total = log_prob.logsumexp(0).exp()
    worst = int((total - 1).abs().argmax())
    if not abs(float(total[worst]) - 1) < TOLERANCE_OF_SUM:
        raise Failure(f"the probabilities of all {number} values sum to {float(total[worst]):.6g}: normalize log_prob")
    index = _positions(draws, everywhere)
    p_values = [_chi_square(index[:, row], log_prob[:, row].exp()) for row in range(rows)]
    rejected = holm(p_values, LEVEL)
    if rejected:
        problem = f"counts of {num_draws} draws do not fit log_prob's probabilities (row {rejected[0]}, p = "
        raise Failure(f"{problem}{p_values[rejected[0]]:.1g}); {REMEDY}")
    return f"sum over {number} values {float(total[worst]):.6f}"


def _positions(draws: Mapping[str, Tensor], states: Mapping[str, Tensor]) -> Tensor:
    """Which state each draw is: (M, N).

    Raises:
        Failure: for a draw that is none of them.
    """
    matches = None
    for name, value in draws.items():
        own = value.reshape(*value.shape[:2], -1)
        listed = states[name][:, :1].reshape(len(states[name]), -1)
        keys = _keys(torch.cat([listed.to(own), own.flatten(0, 1)]))
        matches = keys if matches is None else matches * (keys.max() + 1) + keys
    number = len(next(iter(states.values())))
    order, place = matches[:number].sort()
    found = torch.searchsorted(order, matches[number:]).clamp(max=number - 1)
    if (order[found] != matches[number:]).any():
        raise Failure("some draws are values that its support does not have: draw from the support, or correct it")
    return place[found].view(next(iter(draws.values())).shape[:2])


def _keys(rows: Tensor) -> Tensor:
    """Equal numbers for equal rows: (R, E) -> (R,)."""
    return torch.unique(rows, dim=0, return_inverse=True)[1]


def _chi_square(index: Tensor, probabilities: Tensor) -> float:
    """p-value of counts against probabilities, rare values (fewer than 5 expected) taken together."""
    from scipy.stats import chi2  # here: importing scipy sets warning filters

    counts = torch.bincount(index, minlength=len(probabilities)).double()
    expected = probabilities * len(index)
    rare = expected < 5
    counts = torch.cat([counts[~rare], counts[rare].sum(0, keepdim=True)])
    expected = torch.cat([expected[~rare], expected[rare].sum(0, keepdim=True)])
    if expected[-1] < 5 and len(expected) > 1:  # still rare: with the largest of the others
        largest = int(expected[:-1].argmax())
        counts[largest] += counts[-1]
        expected[largest] += expected[-1]
        counts, expected = counts[:-1], expected[:-1]
    statistic = float(((counts - expected).square() / expected).sum())
    return float(chi2.sf(statistic, len(expected) - 1)) if len(expected) > 1 else 1.0


def _many_values(sampler: Sampler, num_draws: int) -> str:
    fitted, values = sampler.draw(num_draws), sampler.draw(num_draws)
    products = {site.name: _marginals(site, fitted[site.name]) for site in sampler.sites}
    others = {name: r.sample((num_draws,)).to(values[name]) for name, r in products.items()}
    log_a = (_claimed(sampler, others) - sum(r.log_prob(others[name]) for name, r in products.items())) / 2
    log_b = (sum(r.log_prob(values[name]) for name, r in products.items()) - _claimed(sampler, values)) / 2
    return compare(log_a, log_b)


def _marginals(site: Site, draws: Tensor) -> dist.TorchDistribution:
    """The product of the draws' marginals: (M, N, E) -> batch shape (N,), event shape (E,).

    Raises:
        Skip: for values that are neither unit vectors nor vectors of whole numbers 0..V-1.
    """
    if is_one_hot(site.support):
        return dist.OneHotCategorical(probs=draws.double().mean(0) + 1 / len(draws))
    levels = free_levels(site.support)
    if levels is None:
        raise Skip(f"there is no test for values of {site.support}")
    counts = torch.stack([(draws == value).double().mean(0) for value in range(levels)], -1)
    return _Whole(counts + 1 / len(draws))


class _Whole(dist.Independent):
    """Independent whole numbers with given weights (..., E, V)."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__(dist.Categorical(probs=weights), 1)
