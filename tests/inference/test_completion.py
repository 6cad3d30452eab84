"""In-painting against enumeration: few pixels, lively weights, and the conditional summed over all images."""

from __future__ import annotations

import math
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from pyro.distributions.testing.gof import multinomial_goodness_of_fit
from torch import Tensor, nn

from inference import Claim, complete
from ppl_models.program import TractableProgram
from ppl_models.programs import (
    MADE,
    OrderMixture,
)

DIM = 6
# shifted:2 generates 2, 3, 4, 5, 0, 1: its own inverse it is not.
SUFFIX = {"raster": [3, 4, 5], "shifted:2": [5, 0, 1]}
# Two missing pixels, two given ones, a missing and a given one: weights move, and particles are resampled in between.
INNER = {"raster": [0, 1, 4], "shifted:2": [2, 3, 0]}
# Seeds of weights for which particles are resampled, and several images are likely, by (ordering, levels).
SEEDS = {("raster", 2): 42, ("raster", 3): 4, ("shifted:2", 2): 10, ("shifted:2", 3): 6}


def lively(program: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in program.parameters():
        nn.init.normal_(parameter, 0, 1.0, generator=generator)
    return program.double().eval()


def made(ordering: object = "shifted:2", levels: int = 2, seed: int | None = None, **options: object) -> MADE:
    seed = SEEDS.get((ordering, levels), 0) if seed is None else seed
    return lively(MADE(DIM, (20,), True, ordering, levels=levels, **options), seed)


def several(probabilities: Tensor) -> bool:
    """Whether at least three images have more than 2%: something to tell draws apart by."""
    return int((probabilities > 0.02).sum()) >= 3


def all_images(levels: int = 2) -> Tensor:
    return torch.tensor(list(product(range(levels), repeat=DIM)), dtype=torch.float64)


def without(missing: list[int]) -> Tensor:
    observed = torch.ones(DIM, dtype=torch.bool)
    observed[missing] = False
    return observed


IMAGE = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0, 1.0]], dtype=torch.float64)


def truth(log_prob: Tensor, states: Tensor, x: Tensor, observed: Tensor) -> tuple[Tensor, float]:
    """p(image | given) of every image, and p(given), by summing over all images."""
    joint = log_prob.detach().exp() * (states[:, observed] == x[observed]).all(-1)
    return joint / joint.sum(), float(joint.sum())


def fits(draws: Tensor, states: Tensor, probabilities: Tensor) -> bool:
    """Goodness of fit of independent draws (n, D), the states that are expected less than five times taken together."""
    counts = (draws.unsqueeze(1) == states).all(-1).sum(0).double()
    assert counts[probabilities == 0].sum() == 0
    rare = probabilities * len(draws) < 5
    pooled = torch.cat([probabilities[~rare], probabilities[rare].sum(0, keepdim=True)])
    numbers = torch.cat([counts[~rare], counts[rare].sum(0, keepdim=True)])
    if pooled[-1] * len(draws) < 5:  # too rare to test: with the rest
        pooled, numbers = pooled[:-1] / pooled[:-1].sum(), numbers[:-1]
    assert len(pooled) > 2
    return multinomial_goodness_of_fit(pooled, numbers, total_count=int(numbers.sum())) > 1e-3


class Mixture(TractableProgram):
    """An equal mixture of two orderings, as far as ``complete`` knows of it."""

    def __init__(self, *orderings: tuple[int, ...]) -> None:
        super().__init__(DIM)
        self.parts = nn.ModuleList(made(ordering, seed=8 + n) for n, ordering in enumerate(orderings))

    def distribution(self) -> SimpleNamespace:
        return SimpleNamespace(components=[part.distribution() for part in self.parts])

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.stack([part.log_prob(x).exp() for part in self.parts]).mean(0).log()


# ---- exact


@pytest.mark.parametrize("ordering", SUFFIX)
@pytest.mark.parametrize("levels", [2, 3])
def test_missing_last_pixels_are_drawn_exactly(ordering: str, levels: int) -> None:
    program, states, observed = made(ordering, levels), all_images(levels), without(SUFFIX[ordering])
    expected, evidence = truth(program.log_prob(states), states, IMAGE[0], observed)
    found = complete(program, IMAGE, observed, num_draws=8000)
    assert found.claim == (Claim.EXACT,)
    assert found.reason == ("exact: the missing pixels are a suffix of the ordering",)
    assert found.log_evidence.exp().item() == pytest.approx(evidence, rel=1e-9)
    assert found.ess.isnan().all()
    assert fits(found.x[:, 0], states, expected)


@pytest.mark.parametrize("ordering", ["raster", "shifted:2", (3, 0, 4, 1, 5, 2)])
def test_exactly_the_suffixes_are_claimed_exact(ordering: object) -> None:
    """All 64 masks at once: the claim, and where exact the evidence, against sums over all images."""
    program, states = made(ordering), all_images()
    masks = states.bool()
    sequence = program.ordering.sequence
    suffixes = [set(sequence[step:]) for step in range(DIM + 1)]
    found = complete(program, IMAGE.expand(64, -1), masks, particles=10)
    for mask, claim, log_evidence, ess in zip(masks, found.claim, found.log_evidence, found.ess, strict=True):
        exact = {pixel for pixel in range(DIM) if not mask[pixel]} in suffixes
        assert claim is (Claim.EXACT if exact else Claim.ESTIMATE)
        assert bool(ess.isnan()) == exact
        if exact:
            evidence = truth(program.log_prob(states), states, IMAGE[0], mask)[1]
            assert log_evidence.exp().item() == pytest.approx(evidence, rel=1e-9)
    assert found.reason[63] == "exact: nothing is missing"
    assert found.reason[0] == "exact: nothing is given"
    assert torch.equal(found.x[0, 63], IMAGE[0])
    assert found.reason.count("sequential Monte Carlo with 10 particles") == 64 - (DIM + 1)


@pytest.mark.parametrize("missing", [[0, 2], [2, 4, 1], [3, 5]])
def test_an_order_agnostic_program_generates_the_given_pixels_first(missing: list[int]) -> None:
    states, observed = all_images(), without(missing)
    saved = [2, 3, 4, 5, 0, 1]
    order = [p for p in saved if p not in missing] + [p for p in saved if p in missing]
    for seed in range(200):
        program = made(cycle="orders", seed=seed)
        expected, evidence = truth(program.reordered(order).log_prob(states), states, IMAGE[0], observed)
        saved_evidence = truth(program.log_prob(states), states, IMAGE[0], observed)[1]
        if several(expected) and abs(math.log(saved_evidence / evidence)) > 0.7:
            break  # and p(given) is another number under the saved ordering
    found = complete(program, IMAGE, observed, num_draws=8000)
    assert found.claim == (Claim.EXACT,)
    assert found.reason == ("exact under the ordering that generates the given pixels first",)
    assert found.log_evidence.exp().item() == pytest.approx(evidence, rel=1e-9)
    assert fits(found.x[:, 0], states, expected)
    under_saved = complete(program, IMAGE, observed, particles=20000, method="smc")
    assert under_saved.claim == (Claim.ESTIMATE,)
    error = 5 / min(under_saved.ess.item(), under_saved.lineages.item()) ** 0.5
    assert error < 0.35
    assert under_saved.log_evidence.item() == pytest.approx(math.log(saved_evidence), abs=error)


def test_masks_of_an_order_agnostic_program_keep_to_their_images() -> None:
    program, states = made(cycle="orders"), all_images()
    masks = torch.stack([without([0]), without([3, 0]), without([0]), without([0, 1])])
    x = torch.cat([IMAGE, 1 - IMAGE, 1 - IMAGE, IMAGE])
    found = complete(program, x, masks)
    for row, order in enumerate(([2, 3, 4, 5, 1, 0], [2, 4, 5, 1, 3, 0], [2, 3, 4, 5, 1, 0], [2, 3, 4, 5, 0, 1])):
        evidence = truth(program.reordered(order).log_prob(states), states, x[row], masks[row])[1]
        assert found.log_evidence[row].exp().item() == pytest.approx(evidence, rel=1e-9)
    assert found.reason[3] == "exact: the missing pixels are a suffix of the ordering"


# ---- sequential Monte Carlo


@pytest.mark.parametrize(("ordering", "levels"), SEEDS)
def test_particles_draw_from_the_conditional(ordering: str, levels: int) -> None:
    """3000 runs with 400 particles each, one independent draw from every run: the bias, of the order of 1/400, is
    below what 3000 draws show."""
    program, states, observed = made(ordering, levels), all_images(levels), without(INNER[ordering])
    expected, evidence = truth(program.log_prob(states), states, IMAGE[0], observed)
    found = complete(program, IMAGE.expand(3000, -1), observed, particles=400, batch=100_000)
    assert set(found.claim) == {Claim.ESTIMATE}
    assert found.reason[0] == "sequential Monte Carlo with 400 particles"
    assert (found.lineages < 0.9 * found.ess_final).all(), "not resampled: choose livelier weights"
    assert fits(found.x[0], states, expected)
    assert found.log_evidence.exp().mean().item() == pytest.approx(evidence, rel=0.02)


@pytest.mark.parametrize("ordering", INNER)
def test_many_draws_from_one_run(ordering: str) -> None:
    """Shares of all images among 20000 draws from 20000 particles: their error is that of so many draws as the
    effective sample size says, lineages counted."""
    program, states, observed = made(ordering), all_images(), without(INNER[ordering])
    expected, _ = truth(program.log_prob(states), states, IMAGE[0], observed)
    found = complete(program, IMAGE, observed, particles=20_000, num_draws=20_000)
    shares = (found.x[:, 0].unsqueeze(1) == states).all(-1).double().mean(0)
    effective = float(torch.minimum(found.ess, found.lineages))
    assert effective > 1000
    assert ((shares - expected).abs() <= 4.5 * (expected * (1 - expected) / effective).sqrt() + 1e-4).all()


@pytest.mark.parametrize(("ordering", "levels"), SEEDS)
@pytest.mark.parametrize("particles", [1, 2, 7])
def test_evidence_is_unbiased_for_few_particles(ordering: str, levels: int, particles: int) -> None:
    program, states, observed = made(ordering, levels), all_images(levels), without(INNER[ordering])
    _, evidence = truth(program.log_prob(states), states, IMAGE[0], observed)
    found = complete(program, IMAGE.expand(4000, -1), observed, particles=particles, batch=10_000)
    estimates = found.log_evidence.exp()
    assert abs(estimates.mean() - evidence) < 4 * estimates.std() / 4000**0.5
    assert estimates.std() > 0


# ---- mixtures of orderings


def test_a_mixture_is_exact_where_all_its_orderings_are() -> None:
    program, states, observed = Mixture((0, 1, 2, 3, 4, 5), (1, 0, 2, 5, 4, 3)), all_images(), without([3, 4, 5])
    expected, evidence = truth(program.log_prob(states), states, IMAGE[0], observed)
    found = complete(program, IMAGE, observed, num_draws=8000)
    assert found.claim == (Claim.EXACT,)
    assert found.reason == ("exact: the missing pixels are a suffix of all 2 orderings",)
    assert found.log_evidence.exp().item() == pytest.approx(evidence, rel=1e-9)
    assert fits(found.x[:, 0], states, expected)


@pytest.mark.parametrize("missing", [[0, 1, 3], [5, 4, 3]])
def test_a_mixture_is_estimated_by_a_filter_per_ordering(missing: list[int]) -> None:
    """The second mask is a suffix of one of the two orderings only."""
    program, states, observed = Mixture((0, 1, 2, 3, 4, 5), (5, 4, 0, 1, 3, 2)), all_images(), without(missing)
    expected, evidence = truth(program.log_prob(states), states, IMAGE[0], observed)
    shares = [truth(part.log_prob(states), states, IMAGE[0], observed)[1] for part in program.parts]
    assert max(shares) / min(shares) > 1.2, "the shares must differ for this to test them"
    found = complete(program, IMAGE.expand(3000, -1), observed, particles=401, num_draws=2, batch=100_000)
    assert set(found.claim) == {Claim.ESTIMATE}
    assert found.reason[0] == "sequential Monte Carlo with 401 particles over 2 orderings"
    assert fits(found.x[0], states, expected)
    assert fits(found.x[1], states, expected), "draws must not come in the order of the components"
    few = complete(program, IMAGE.expand(4000, -1), observed, particles=5, seed=1, batch=10_000).log_evidence.exp()
    assert abs(few.mean() - evidence) < 4 * few.std() / 4000**0.5


def test_the_mixture_of_this_project() -> None:
    """``OrderMixture`` with three components, each with its ordering: the whole mixture is enumerated."""
    program, states, observed = lively(OrderMixture(DIM, 3, (20,))), all_images(), without([0, 3])
    expected, evidence = truth(program.log_prob(states), states, IMAGE[0], observed)
    found = complete(program, IMAGE.expand(3000, -1), observed, particles=300, batch=100_000)
    assert found.reason[0] == "sequential Monte Carlo with 300 particles over 3 orderings"
    estimates = found.log_evidence.exp()
    assert abs(estimates.mean() - evidence) < 4 * estimates.std() / 3000**0.5
    shares = (found.x[0].unsqueeze(1) == states).all(-1).double().mean(0)
    assert ((shares - expected).abs() <= 4.5 * (expected * (1 - expected) / 3000).sqrt() + 2e-3).all()
    assert found.x[0].unique(dim=0).shape[0] > 1
    whole = complete(program, IMAGE, without([]))
    assert whole.claim == (Claim.EXACT,)
    assert whole.log_evidence.item() == pytest.approx(program.log_prob(IMAGE).item(), abs=1e-9)
