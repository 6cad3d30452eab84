"""A guide that has no density where the prior has some: a bound, and nothing to start or to score from."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.calibration import rank_truths
from inference.estimators import AnnealedImportance, Elbo, ReverseAnnealedImportance, parse_estimator
from inference.estimators.annealing_options import AnnealingOptions
from inference.estimators.support import check_support
from inference.simulate import simulate
from ppl_models.errors import InvalidInput
from ppl_models.guides import DiagonalNormal, IndependentBernoulli, InverseAutoregressive, LadderNormal
from ppl_models.programs import VAE, DiscreteVAE, LadderVAE


class Positive(DiagonalNormal):
    """Draws above 0 alone."""

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        base = super().posterior(x)
        return dist.LogNormal(base.mean, base.variance.sqrt()).to_event(1)


@pytest.fixture
def program() -> VAE:
    torch.manual_seed(0)
    return VAE(4, 2, (5,))


def test_it_is_refused_where_latents_of_the_program_are_scored(program: VAE) -> None:
    guide, x = Positive(4, 2, (5,)), torch.zeros(2, 4)
    with pytest.raises(InvalidInput, match=r"--sbc 'Positive'.*density of Positive at site 'z' is 0.*leave --sbc out"):
        rank_truths(program, guide, simulations=1000, draws=19)
    options = AnnealingOptions(start="guide")
    for name in ("ais:5", "bdmc:5"):
        with pytest.raises(InvalidInput, match=rf"--estimators '{name}'.*Positive.*--start prior"):
            parse_estimator(name, program, guide, annealing=options)
    assert parse_estimator("ais:5", program, guide).start is None
    assert torch.isfinite(Elbo(guide, 3)(program, x).values).all()


def test_it_is_refused_before_chains_run(program: VAE) -> None:
    guide = Positive(4, 2, (5,))
    with pytest.raises(InvalidInput, match="site 'z' is 0"):
        AnnealedImportance(3, 2, start=guide)(program, torch.zeros(2, 4))
    with pytest.raises(InvalidInput, match="site 'z' is 0"):
        ReverseAnnealedImportance(3, 2, start=guide)(program, simulate(program, 2, seed=0))


@pytest.mark.parametrize(
    ("program", "guide"),
    [
        (VAE(4, 2, (5,)), DiagonalNormal(4, 2, (5,))),
        (VAE(4, 2, (5,)), InverseAutoregressive(4, 2, (5,))),
        (LadderVAE(4, (2, 1), (5, 5)), LadderNormal(4, (2, 1), (5, 5))),
        (DiscreteVAE(4, 2, (5,)), IndependentBernoulli(4, 2, (5,))),
    ],
)
def test_guides_over_the_whole_support_pass_and_leave_no_trace(program, guide) -> None:
    guide.bind(program)
    before = torch.get_rng_state()
    check_support(program, guide, "--sbc", "")
    assert torch.equal(torch.get_rng_state(), before)
