"""Prior, guide and likelihood are independent axes: every combination works, or is in the list of refusals.

The truth is a sum over a grid of z, or over all codes, which ``test_the_truth_sums_to_one`` holds against the one thing
that is known of it: p(x) sums to one over all images. LinearVAE is held against its closed form.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import multivariate_normal
from torch import Tensor

import ppl_models.guides
from inference.objectives import find_objective
from inference.rehearsal import rehearse
from inference.weights import log_weights
from ppl_models import InvalidInput
from ppl_models.distributions.binary_code import all_codes, is_one_hot
from ppl_models.guides import GuideProgram
from ppl_models.priors import PRIORS as PRIORS_BY_NAME
from ppl_models.priors import Prior
from ppl_models.program import GenerativeProgram
from ppl_models.programs import AutoencoderDensity, LadderVAE
from tests.ppl_models.combinations import (
    GUIDES,
    LIKELIHOODS,
    OWN,
    PRIORS,
    REFUSALS,
    Combination,
    every_combination,
    refusal_of,
    shaken,
)

ALL = list(every_combination())
WORKING = [c for c in ALL if refusal_of(c) is None]
REFUSED = [c for c in ALL if refusal_of(c) is not None]

# z = sinh(t): dense in the middle and far out, where Student's tails and mixtures still have mass.
T = torch.linspace(-4.5, 4.5, 61, dtype=torch.float64)
GRID = torch.cartesian_prod(T.sinh(), T.sinh())
LOG_VOLUME = (torch.cartesian_prod(T.cosh(), T.cosh()).prod(-1) * (T[1] - T[0]) ** 2).log()


@dataclass(frozen=True)
class Table:
    """What a program says of all values of its latents, or of a grid of them.

    Args:
        values: of each site (G, L).
        log_volume: what a value stands for (G,).
        log_joint: log p(x, z), from densities that have tests of their own (G, N).
    """

    values: dict[str, Tensor]
    log_volume: Tensor
    log_joint: Tensor

    @property
    def log_evidence(self) -> Tensor:
        """log p(x): (N,)."""
        return (self.log_joint + self.log_volume[:, None]).logsumexp(0)


def images(levels: int, count: int = 6) -> Tensor:
    """Different images (count, 4), the same at every call."""
    if levels == 0:
        return torch.randn(count, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return all_codes(4, levels)[:: levels**4 // count].double()[:count]


@torch.no_grad()
def table(program: GenerativeProgram, x: Tensor) -> Table:
    """log p(x, z) by brute force."""
    if isinstance(program, LadderVAE):  # z2 down the first axis of the grid, z1 along the second
        above, z = GRID[:, :1], GRID[:, 1:]
        log_prior = program.conditional(1, None).log_prob(above) + program.conditional(0, above).log_prob(z)
        values, volume = {"z2": above, "z1": z}, LOG_VOLUME
    else:
        prior = program.prior()
        z, volume = GRID, LOG_VOLUME
        if prior.support.is_discrete:
            z = torch.eye(*prior.event_shape) if is_one_hot(prior.support) else all_codes(*prior.event_shape, 2)
            z, volume = z.double(), torch.zeros(len(z)).double()
        values, log_prior = {"z": z}, prior.log_prob(z)
    log_likelihood = torch.stack([program.likelihood(z).log_prob(image) for image in x], -1)
    return Table(values, volume, log_prior[:, None] + log_likelihood)


@cache
def table_without_guide(prior: str, likelihood: str) -> tuple[dict[str, Tensor], Table]:
    """The weights of a program whose prior is not made from a guide, and its table at three images."""
    program, _ = Combination(prior, guide_for(prior, likelihood), likelihood).build()
    return program.state_dict(), table(program, images(LIKELIHOODS[likelihood][0])[:3])


def guide_for(prior: str, likelihood: str) -> str:
    """Some guide that the program takes."""
    return next(g for g in GUIDES if refusal_of(Combination(prior, g, likelihood)) is None)


def table_of(c: Combination, program: GenerativeProgram, x: Tensor) -> Table:
    """The table of a combination's program."""
    if c.prior == "vamp":
        return table(program, x)
    state, found = table_without_guide(c.prior, c.likelihood)
    own = program.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items() if isinstance(value, Tensor))
    return found


def test_everything_that_is_shipped_is_on_its_axis() -> None:
    abstract = {"Guide", "GuideProgram", "AmortizedGuide"}
    made = {type(make((1, 1) if name == "ladder" else 2)).__name__ for name, make in GUIDES.items()}
    assert made == set(ppl_models.guides.__all__) - abstract
    kinds = {cls for cls, _ in PRIORS_BY_NAME.values()}
    assert {type(make(2)) for make in PRIORS.values()} == kinds
    assert all(issubclass(kind, Prior) for kind in kinds)


def test_every_refusal_is_needed_and_no_axis_is_refused_as_a_whole() -> None:
    assert {refusal_of(c) for c in REFUSED} == set(REFUSALS)
    for axis, names in (("prior", PRIORS), ("guide", GUIDES), ("likelihood", LIKELIHOODS)):
        assert {getattr(c, axis) for c in WORKING} >= set(names)
    assert len(WORKING) + len(REFUSED) == len(GUIDES) * (len(PRIORS) * (len(LIKELIHOODS) - 2) + 2)


@pytest.mark.parametrize("c", REFUSED, ids=str)
def test_a_refused_combination_is_refused_with_its_reason(c: Combination) -> None:
    with pytest.raises(InvalidInput, match=refusal_of(c).message) as caught:
        program, guide = c.build()
        rehearse(program, guide, images(c.levels, 2))
    assert "\n" not in str(caught.value)
    assert "tensor(" not in str(caught.value)


SUMMED = sorted({(c.prior, c.likelihood) for c in WORKING if c.levels == 2})


@pytest.mark.parametrize(("prior", "likelihood"), SUMMED)
def test_the_truth_sums_to_one(prior: str, likelihood: str) -> None:
    """Hybrids too: the sum over z, and over all 2^4 images, of what their pixels given each other say."""
    program, _ = Combination(prior, guide_for(prior, likelihood), likelihood).build()
    assert table(program, all_codes(4, 2).double()).log_evidence.exp().sum().item() == pytest.approx(1, abs=1e-4)


def test_the_truth_of_the_linear_program_is_its_closed_form() -> None:
    program, _ = Combination(OWN, "diagonal", "linear").build()
    weight, bias = program.decoder.weight.detach().numpy(), program.decoder.bias.detach().numpy()
    covariance = weight @ weight.T + math.exp(2 * program.family.log_scale.item()) * np.eye(4)
    x = images(0)
    found = table(program, x).log_evidence
    np.testing.assert_allclose(found, multivariate_normal(bias, covariance).logpdf(x.numpy()), atol=1e-6)


def log_q(guide: GuideProgram, x: Tensor, values: dict[str, Tensor], rows: int = 1) -> Tensor:
    """log q(z | x) at given latents, (N, L) each or with rows before: (N,) or (rows, N)."""
    with pyro.plate("rows", rows, dim=-2) if rows > 1 else nullcontext():
        trace = poutine.trace(poutine.condition(guide, values)).get_trace(x)
    parts = [trace.nodes[name]["fn"].log_prob(value) for name, value in values.items()]
    return sum(parts).detach()


def check_bound(c: Combination, program: GenerativeProgram, guide: GuideProgram, x: Tensor) -> None:
    """The guide is normalized, its ELBO by quadrature lies below log p(x), and the estimate of it agrees."""
    truth = table_of(c, program, x)
    rows = len(truth.log_volume)
    values = {name: value[:, None].expand(rows, len(x), -1) for name, value in truth.values.items()}
    log_posterior = log_q(guide, x, values, rows)
    mass = (log_posterior + truth.log_volume[:, None]).exp()
    # Where the prior has narrow components, mode and curvature are narrower than the grid is fine.
    width = 1e-2 if c.guide == "laplace" else 2e-3
    torch.testing.assert_close(mass.sum(0), torch.ones(len(x)).double(), atol=width, rtol=0)
    log_ratio = torch.where(mass > 0, truth.log_joint - log_posterior, 0.0)
    elbo = (mass * log_ratio).sum(0)
    if (c.guide, c.likelihood) == ("laplace", "linear"):  # log p(x, z) is quadratic in z: mode and curvature are all
        torch.testing.assert_close(elbo, truth.log_evidence, atol=1e-5, rtol=0)
    else:
        assert (elbo < truth.log_evidence - 1e-6).all(), "a guide that was not trained is no posterior"
    torch.manual_seed(2)
    log_w = log_weights(program, guide, x, 1600).detach()
    error = log_w.std(0) / math.sqrt(len(log_w))
    assert ((log_w.mean(0) - elbo).abs() < 5 * error + 5e-3).all()
    assert error.min() < 0.5, "the noise would hide any error"


def check_order(guide: GuideProgram, x: Tensor) -> None:
    """Images in another order have their posteriors in that order."""
    trace, order = poutine.trace(guide).get_trace(x), torch.tensor([3, 0, 5, 4, 1, 2])
    values = {name: trace.nodes[name]["value"].detach() for name in trace.stochastic_nodes}
    moved = log_q(guide, x[order], {name: value[order] for name, value in values.items()})
    torch.testing.assert_close(moved, log_q(guide, x, values)[order], rtol=1e-6, atol=1e-6)
    assert moved.std() > 1e-3, "they are all alike"


def check_state(c: Combination, program: GenerativeProgram, guide: GuideProgram, x: Tensor) -> None:
    """Another pair that loads the state is the same."""
    other, its_guide = c.build(seed=1)
    pairs = ((program, guide), (other, its_guide))
    found = []
    for step in range(2):
        if step:
            other.load_state_dict(program.state_dict())
            its_guide.load_state_dict(guide.state_dict())
        for pair in pairs:
            torch.manual_seed(3)
            found.append(log_weights(*pair, x, 2).detach())
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[2], found[3])


def silent_by_design(c: Combination, program: GenerativeProgram) -> set[str]:
    """Parameters to which the ELBO sends no gradient, for a reason that their class states."""
    if isinstance(program, AutoencoderDensity) and c.guide != "code":
        # Only CodeNormal reads the autoencoder's own code; the objective code-density trains its encoder for all.
        names = (f"program.autoencoder.{name}" for name, _ in program.autoencoder.named_parameters())
        return {name for name in names if ".encoder." in name}
    return set()


def check_gradients(c: Combination, program: GenerativeProgram, guide: GuideProgram, x: Tensor) -> None:
    """A gradient of the ELBO reaches every parameter. Units that are off by chance are asked again, moved a little."""
    objective = find_objective("elbo")(program, guide, num_particles=2).train()
    own = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    silent = set(own)
    for attempt in range(6):
        if attempt:
            shaken(objective).train()
        torch.manual_seed(attempt)
        loss = objective(x)
        found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        assert loss.isfinite()
        assert all(gradient is None or gradient.isfinite().all() for gradient in found)
        silent &= {n for n, gradient in zip(own, found, strict=True) if gradient is None or not gradient.any()}
        if silent == silent_by_design(c, program):
            return
    assert silent == silent_by_design(c, program)


@pytest.mark.parametrize("c", WORKING, ids=str)
def test_a_combination_works(c: Combination) -> None:
    program, guide = c.build()
    x = images(c.levels)
    rehearse(program, guide, x)
    check_bound(c, program, guide, x[:3])
    check_order(guide, x)
    check_state(c, program, guide, x[:3])
    check_gradients(c, program, guide, x)
