"""Calibration of guides whose fault is known: none, too narrow, the prior, off. The truth is the linear program's."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference.calibration import NOTHING_FOUND, as_dataset, judge, rank_truths, summary
from inference.calibration import ranks as ranks_module
from inference.claims import Claim
from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide, GuideProgram, LadderNormal
from ppl_models.program import GenerativeProgram
from ppl_models.programs import MADE, LadderVAE, LinearVAE

LATENTS, PIXELS = 2, 4


class Closed(Guide):
    """The linear program's posterior in closed form, with a standard deviation and a mean that may be off."""

    width, shift = 1.0, 0.0

    def posterior(self, x):
        exact = self.program.posterior(x)
        scale = exact.scale_tril.expand(*x.shape[:-1], LATENTS, LATENTS)
        loc = exact.loc + self.shift * exact.stddev
        return dist.MultivariateNormal(loc, scale_tril=self.width * scale)


class Narrow(Closed):
    width = 0.8


class Off(Closed):
    shift = 0.6


class Prior(Guide):
    """Draws of p(z), whatever the image."""

    def posterior(self, x):
        return dist.Normal(0.0, 1.0).expand([*x.shape[:-1], self.latent_dim]).to_event(1)


@pytest.fixture(scope="module")
def program() -> LinearVAE:
    """Four real pixels that tell much, though not all, of two latents."""
    torch.manual_seed(3)
    program = LinearVAE(PIXELS, LATENTS, levels=0)
    with torch.no_grad():
        program.decoder.weight.normal_()
        program.decoder.bias.normal_()
    return program


@pytest.fixture(scope="module")
def calibrated(program):
    """``calibrated(guide class)``: its file's content, each computed once."""
    found = {}

    def run(kind):
        if kind not in found:
            guide = kind(PIXELS, LATENTS)
            guide.bind(program)
            ranks = rank_truths(program, guide, simulations=1000, draws=99, seed=1)
            found[kind] = as_dataset(program, ranks, judge(ranks), {})
        return found[kind]

    return run


@pytest.mark.parametrize(
    ("kind", "latents", "joint"),
    [
        (Closed, NOTHING_FOUND, NOTHING_FOUND),
        (Narrow, "overconfident", "draws too probable"),
        (Prior, NOTHING_FOUND, "draws too improbable"),
        (Off, "biased high", "draws too improbable"),
    ],
)
def test_the_fault_is_found_and_named(kind, latents: str, joint: str, calibrated) -> None:
    """The prior's draws have uniform ranks per latent: only log p(x, z) gives them away (trap 26)."""
    dataset = calibrated(kind)
    assert dataset.quantity.values.tolist() == ["z[0]", "z[1]", "log p(x, z)"]
    assert dataset.verdict.values.tolist() == [latents, latents, joint]


def test_coverage_of_intervals_that_are_known(calibrated) -> None:
    """Of a guide with .8 of the standard deviation, the central 80% interval covers 2 Phi(.8 * 1.2816) - 1 = 69.5%."""
    for kind, width in ((Closed, 1.0), (Narrow, 0.8)):
        dataset = calibrated(kind)
        expected = math.erf(width * 1.2815515655446004 / math.sqrt(2))
        assert dataset.level.values[1] == pytest.approx(0.8)
        found = dataset.coverage.values[1, :2]
        assert np.abs(found - expected).max() < 4.5 * (expected * (1 - expected) / 1000) ** 0.5


def test_bounds_on_simulated_images_lie_where_the_divergences_put_them(calibrated) -> None:
    """KL between N(m, s^2 S) and N(m, S) over L dimensions: L (s^2 - 1 - ln s^2) / 2, and s -> 1 / s the other way."""
    dataset, square = calibrated(Narrow), 0.64
    value = {str(row.estimator.item()): row.values for row in dataset.log_evidence}
    claims = dict(zip(dataset.estimator.values.tolist(), dataset.claim.values.tolist(), strict=True))
    assert claims == {"elbo:99": Claim.LOWER_BOUND, "exact": Claim.EXACT, "eubo": Claim.UPPER_BOUND}
    below = value["exact"] - value["elbo:99"]
    above = value["eubo"] - value["exact"]
    for gap, ratio in ((below, square), (above, 1 / square)):
        expected = LATENTS * (ratio - 1 - math.log(ratio)) / 2
        assert abs(gap.mean() - expected) < 4.5 * gap.std(ddof=1) / 1000**0.5


def test_with_the_exact_posterior_all_three_agree(calibrated) -> None:
    """Every weight is p(x) itself."""
    values = calibrated(Closed).log_evidence.values
    assert np.abs(values - values[1]).max() < 1e-3


def test_the_summary_says_it_in_words(calibrated) -> None:
    text = summary(calibrated(Narrow))
    assert "overconfident: z[0], z[1]" in text
    assert "draws too probable: log p(x, z)" in text
    assert "elbo:99 (LOWER_BOUND)" in text
    assert "eubo (UPPER_BOUND)" in text
    assert "nothing found: z[0], z[1], log p(x, z)" in summary(calibrated(Closed))


class Coins(GenerativeProgram):
    """A fair coin c and three pixels that are 1 with probability .8 where c = 1 and .2 where c = 0."""

    latents = ("c",)

    def forward(self, x=None, *, size=1):
        with self.plate(x, size):
            c = pyro.sample("c", dist.Bernoulli(0.5 * torch.ones(1)).to_event(1))
            return self.observe(dist.Bernoulli(0.2 + 0.6 * c.expand(*c.shape[:-1], 3)).to_event(1), x, size)


class CoinPosterior(GuideProgram):
    """Its posterior: each pixel multiplies the odds by 4 or by 1/4."""

    sharpness = 1.0

    def forward(self, x=None, *, size=1):
        logit = self.sharpness * math.log(4) * (2 * x - 1).sum(-1, keepdim=True)
        with pyro.plate("image", x.shape[-2]):
            return pyro.sample("c", dist.Bernoulli(logits=logit).to_event(1))


class Sharp(CoinPosterior):
    sharpness = 2.0


@pytest.mark.parametrize(("kind", "calm"), [(CoinPosterior, True), (Sharp, False)])
def test_ties_of_discrete_latents_are_broken_by_chance(kind, calm: bool, few) -> None:
    """A coin ties with about half of its draws."""
    program, guide = Coins(3), kind()
    guide.bind(program)
    words = judge(rank_truths(program, guide, simulations=500, draws=19)).words
    assert (words == (NOTHING_FOUND, NOTHING_FOUND)) == calm


@pytest.fixture
def few(monkeypatch) -> None:
    """Mechanics can be seen from a few simulations."""
    monkeypatch.setattr(ranks_module, "LEAST_SIMULATIONS", 5)


def test_several_latents_are_named_by_site(few) -> None:
    program = LadderVAE(6, (3, 2), (8, 8))
    guide = LadderNormal(6, (3, 2), (8, 8))
    guide.bind(program)
    ranks = rank_truths(program, guide, simulations=5, draws=19)
    assert ranks.quantities == ("z1[0]", "z1[1]", "z1[2]", "z2[0]", "z2[1]", "log p(x, z)")
    assert ranks.ranks.shape == (6, 5)
    assert not ranks.log_weight_of_truth.isnan().any()


def test_a_simulation_does_not_depend_on_how_many_there_are(few, program) -> None:
    guide = Prior(PIXELS, LATENTS)
    guide.bind(program)
    some, more = (rank_truths(program, guide, simulations=n, draws=19, seed=4) for n in (6, 11))
    assert np.array_equal(some.ranks, more.ranks[:, :6])
    assert torch.equal(some.log_weights, more.log_weights[:6])
    other = rank_truths(program, guide, simulations=6, draws=19, seed=5)
    assert not np.array_equal(some.ranks, other.ranks)


class Recording(Prior):
    """Keeps what it draws."""

    def forward(self, x=None, *, size=1):
        self.drawn = [*getattr(self, "drawn", []), super().forward(x, size=size)]
        return self.drawn[-1]


def test_every_simulation_has_noise_of_its_own(few, program) -> None:
    """Draws that were shared would tie the ranks of all simulations together."""
    guide = Recording(PIXELS, LATENTS)
    guide.bind(program)
    rank_truths(program, guide, simulations=5, draws=19)
    drawn = torch.stack([z.reshape(-1, LATENTS) for z in guide.drawn if z.numel() == 19 * LATENTS])
    assert len(drawn) == 5
    assert len(drawn.unique()) == drawn.numel()


def test_chunks_of_particles_add_up(few, program, monkeypatch) -> None:
    guide = Closed(PIXELS, LATENTS)
    guide.bind(program)
    monkeypatch.setattr(ranks_module, "MAX_ELEMENTS", 7 * PIXELS)
    ranks = rank_truths(program, guide, simulations=9, draws=23)
    assert ranks.log_weights.shape == (9, 23)
    expected = program.log_prob(ranks.x)[:, None].double()
    assert (ranks.log_weights - expected).abs().max() < 1e-3


class Mute(Closed):
    """A family that samples and scores its own draws only, as some flows do."""

    def posterior(self, x):
        class OwnDraws(dist.MultivariateNormal):
            def log_prob(self, value):
                if value.ndim < 3:
                    raise NotImplementedError
                return super().log_prob(value)

        exact = super().posterior(x)
        return OwnDraws(exact.loc, scale_tril=exact.scale_tril)


def test_without_a_density_elsewhere_there_is_no_upper_bound(few, program) -> None:
    guide = Mute(PIXELS, LATENTS)
    guide.bind(program)
    ranks = rank_truths(program, guide, simulations=5, draws=19)
    assert ranks.log_weight_of_truth.isnan().all()
    assert as_dataset(program, ranks, judge(ranks), {}).estimator.values.tolist() == ["elbo:19", "exact"]


def test_rank_counts_the_draws_below() -> None:
    draws = torch.tensor([[1.0, 5.0], [2.0, 6.0], [4.0, 7.0]])
    assert ranks_module._rank(draws, torch.tensor([3.0, 7.5]), 0.0).tolist() == [2, 3]
    assert ranks_module._rank(draws, torch.tensor([0.0, 5.5]), 0.0).tolist() == [0, 1]
    tied = torch.stack([ranks_module._rank(torch.zeros(3, 1), torch.zeros(1), 0.0) for _ in range(400)])
    share = torch.bincount(tied[:, 0], minlength=4) / 400
    assert share.tolist() == pytest.approx([0.25] * 4, abs=4.5 * (0.25 * 0.75 / 400) ** 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"simulations": 999}, "--sbc.simulations 999"),
        ({"draws": 18}, "--sbc.draws 18"),
    ],
)
def test_too_few_are_refused(options, words: str, program) -> None:
    guide = Prior(PIXELS, LATENTS)
    with pytest.raises(InvalidInput, match=words):
        rank_truths(program, guide, **options)


def test_a_program_without_latents_has_nothing_to_calibrate() -> None:
    for guide in (None, nn.Identity()):
        with pytest.raises(InvalidInput, match="no latents"):
            rank_truths(MADE(4, hidden=(8,)), guide)
