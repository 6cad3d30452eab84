"""Information from the full aggregate posterior: against closed forms, quadrature and sums over codes."""

from __future__ import annotations

import math
import resource

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.measures import information, measure_collapse
from inference.measures.information import marginals, mixture
from inference.measures.table import mean_over_images
from ppl_models.guides import (
    DiagonalNormal,
    FullRankNormal,
    Guide,
    IndependentBernoulli,
    InverseAutoregressive,
    LadderNormal,
    Mixture,
    StudentT,
)
from ppl_models.programs import LadderVAE
from tests.inference.measures.channels import GaussianChannel, channel, linear_program


def measured(guide: GaussianChannel, x: Tensor, **options: object) -> dict[str, tuple[float, float, float]]:
    """name -> value, error over images, Monte Carlo error."""
    found = measure_collapse(linear_program(guide), guide, x, **options)
    columns = (found["value"], found["stderr"], found["stderr_monte_carlo"])
    return {str(name): tuple(float(column.sel(measure=name)) for column in columns) for name in found["measure"].values}


@pytest.mark.parametrize(("nats", "latents"), [(0.1, 1), (1.0, 3), (3.0, 1), (3.0, 4)])
def test_the_bracket_holds_the_information_of_a_gaussian_channel(nats: float, latents: int) -> None:
    guide, x = channel(nats, latents), torch.randn(1000, latents + 1)
    assert guide.information() == pytest.approx(nats)
    z = guide.posterior(x).sample((4,)).flatten(0, 1)
    found = mixture(guide, x, {"z": z}, torch.arange(1000).repeat(4))
    lower, lower_error, _ = mean_over_images(found.lower.view(4, 1000))
    upper, upper_error, _ = mean_over_images(found.upper.view(4, 1000))
    assert lower - 3 * lower_error <= nats <= upper + 3 * upper_error
    assert lower < upper
    # A wide error would make the bracket hold anything.
    assert max(lower_error, upper_error) < 0.06


def test_the_measures_of_a_channel_are_its_closed_forms() -> None:
    """Its aggregate posterior is the prior, in the limit of many images."""
    guide = channel(1.0, 2)
    found = measured(guide, torch.randn(400, 3), num_draws=4)
    names = ("information_empirical", "information_lower", "information_upper", "rate")
    for name in names:  # the rate is all information
        assert abs(found[name][0] - 1.0) < 4 * found[name][1] + 0.02
    assert found["marginal_kl"][0] == pytest.approx(0, abs=0.1)
    assert found["information_cap"][0] == pytest.approx(math.log(400))
    assert found["active_units"][0] == found["num_latents"][0] == 2


def test_the_two_sides_are_bounds_in_expectation_and_the_lower_one_is_capped() -> None:
    guide, count, repeats = channel(3.0), 8, 300
    lower, upper = [], []
    for _ in range(repeats):
        x = torch.randn(count, 2)
        found = mixture(guide, x, {"z": guide.posterior(x).sample()}, torch.arange(count))
        assert float(found.lower.max()) <= math.log(count) + 1e-9
        lower.append(float(found.lower.mean()))
        upper.append(float(found.upper.mean()))
    for values, sign in ((lower, -1), (upper, 1)):
        error = np.std(values, ddof=1) / math.sqrt(repeats)
        assert sign * (np.mean(values) - 3.0) > 3 * error
    assert np.mean(lower) > 0.5


def test_a_few_images_against_quadrature() -> None:
    """Empirical information and marginal divergence of 5 images: integrals over one dimension."""
    guide = GaussianChannel([1.5], 0.6)
    x = torch.tensor([[-2.0, 0.0], [-0.3, 0.0], [0.1, 0.0], [0.4, 0.0], [1.7, 0.0]])
    grid = np.linspace(-10, 10, 8001)
    step = grid[1] - grid[0]

    def density(mean: float, scale: float) -> np.ndarray:
        return np.exp(-0.5 * ((grid - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))

    parts = np.stack([density(1.5 * float(mean), 0.6) for mean in x[:, 0]])
    aggregate, prior = parts.mean(0), density(0.0, 1.0)
    others = np.stack([np.delete(parts, n, 0).mean(0) for n in range(5)])
    truths = {
        "information_empirical": (parts * np.log(parts / aggregate)).mean(0).sum() * step,
        "information_upper": (parts * np.log(parts / others)).mean(0).sum() * step,
        "marginal_kl": (aggregate * np.log(aggregate / prior)).sum() * step,
    }
    found = measured(guide, x, num_draws=20_000)
    for name, truth in truths.items():
        value, _, error = found[name]
        assert 0 < error < 0.01
        assert abs(value - truth) < 4 * error, name
    # One dimension depends on nothing, and carries all there is.
    assert found["total_correlation"][0] == pytest.approx(0, abs=1e-4)
    assert found["marginal_kl_per_latent"][0] == pytest.approx(found["marginal_kl"][0], abs=1e-4)


def test_total_correlation_of_two_images_is_that_of_their_mixture() -> None:
    """Far apart in both dimensions, z_1 says which image it is and so z_2: ln 2 nats. In one dimension: none."""
    x = torch.tensor([[-50.0, -50.0, 0.0], [50.0, 50.0, 0.0]])
    for gains, truth in (([1.0, 1.0], math.log(2)), ([1.0, 0.0], 0.0)):
        found = measured(GaussianChannel(gains), x, num_draws=50)
        assert found["total_correlation"][0] == pytest.approx(truth, abs=1e-5)
        assert found["information_empirical"][0] == pytest.approx(math.log(2), abs=1e-5)


GUIDES: dict[str, Guide] = {
    "diagonal": DiagonalNormal(6, 3, (8,)),
    "full": FullRankNormal(6, 3, (8,)),
    "student": StudentT(6, 3, (8,)),
    "mixture": Mixture(6, 3, (8,), components=2),
    "flow": InverseAutoregressive(6, 3, (8,)),
    "bits": IndependentBernoulli(6, 3, (8,)),
}


@pytest.mark.parametrize("name", GUIDES)
def test_every_family_scores_each_draw_under_each_image_alone(name: str) -> None:
    """The reference asks the guide for one image at a time and one draw at a time."""
    guide, x = GUIDES[name].double(), (torch.rand(7, 6) < 0.5).double()
    for parameter in guide.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    with torch.no_grad():
        z, owners = guide.posterior(x).sample((2,)).flatten(0, 1), torch.arange(7).repeat(2)
        found = mixture(guide, x, {"z": z}, owners, max_elements=6 * 3 * 8)
        columns = [[guide.posterior(x[j : j + 1]).log_prob(one[None])[0] for one in z] for j in range(7)]
        pairs = torch.tensor(columns).double().T
    assert torch.allclose(found.own, pairs[torch.arange(14), owners])
    others = pairs.clone()
    others[torch.arange(14), owners] = -torch.inf
    assert torch.allclose(found.others, others.logsumexp(1))
    assert torch.allclose(found.log_density, pairs.logsumexp(1) - math.log(7))


def test_a_ladder_is_scored_by_the_chain_of_its_conditionals() -> None:
    program, guide = LadderVAE(6, (3, 2), (8, 8)).double(), LadderNormal(6, (3, 2), (8,)).double()
    guide.bind(program)
    x = (torch.rand(5, 6) < 0.5).double()
    z = {"z1": torch.randn(5, 3).double(), "z2": torch.randn(5, 2).double()}
    with torch.no_grad():
        found = mixture(guide, x, z, torch.arange(5), max_elements=60)
        pairs = torch.empty(5, 5, dtype=torch.float64)
        for j in range(5):
            evidence = guide.evidence(x[j : j + 1])
            for n in range(5):
                above, below = z["z2"][n : n + 1], z["z1"][n : n + 1]
                top, bottom = guide.conditional(1, evidence[1], None), guide.conditional(0, evidence[0], above)
                pairs[n, j] = (top.log_prob(above) + bottom.log_prob(below)).item()
    assert torch.allclose(found.own, pairs.diagonal())
    assert torch.allclose(found.log_density, pairs.logsumexp(1) - math.log(5))


@pytest.mark.parametrize("scale", [1e-2, 1e-6])
def test_sharp_posteriors_keep_their_digits(scale: float) -> None:
    """In the matrix form large terms cancel; where they would take the result with them it is not used."""
    guide = GaussianChannel([1.0], scale).double()
    x = torch.linspace(-30, 30, 5).double().unsqueeze(1).expand(-1, 2)
    z = x[:, :1] + 1.3 * scale
    found = mixture(guide, x, {"z": z}, torch.arange(5))
    truth = -0.5 * 1.3**2 - math.log(scale) - 0.5 * math.log(2 * math.pi)
    assert torch.allclose(found.own, torch.full((5,), truth).double(), atol=1e-6)


def test_marginals_are_mixtures_of_single_dimensions() -> None:
    guide, x = GaussianChannel([1.0, -0.5], 0.7).double(), torch.randn(6, 3).double()
    z, owners = torch.randn(4, 2).double(), torch.tensor([5, 0, 2, 2])
    own, total = marginals(guide, x, z, owners, max_elements=10)
    means = x[:, :2] * guide.gains.double()
    pairs = -0.5 * ((z[:, None] - means) / 0.7) ** 2 - math.log(0.7) - 0.5 * math.log(2 * math.pi)
    assert torch.allclose(total, pairs.logsumexp(1) - math.log(6))
    assert torch.allclose(own, pairs[torch.arange(4), owners])


def test_a_guide_without_a_density_at_another_images_z_gives_a_reason_and_no_number() -> None:
    class OnlyItsOwn(dist.Normal):
        """Scores what it drew, as some flows do."""

        def log_prob(self, value: Tensor) -> Tensor:
            if value.shape[-2] != 1:
                raise NotImplementedError("no inverse")
            return super().log_prob(value)

    class Stubborn(GaussianChannel):
        def posterior(self, x: Tensor) -> dist.TorchDistribution:
            return OnlyItsOwn(x[..., :1], 1.0).to_event(1)

    guide = Stubborn([1.0])
    found = measure_collapse(linear_program(guide), guide, torch.randn(4, 2))
    for name in ("information_lower", "information_upper", "marginal_kl", "total_correlation", "split_elbo"):
        row = found.sel(measure=name)
        assert row["claim"].item() == "none"
        assert math.isnan(row["value"])
        assert "Stubborn has no density at another image's z (no inverse)" in row["reason"].item()
    assert found.sel(measure="rate")["claim"].item() == "EXACT"
    assert found["information_lower"].isnull().all()


@pytest.mark.slow
@pytest.mark.parametrize("nats", [0.5, 1.5, 3.0])
def test_fifty_thousand_images_in_two_gigabytes(nats: float) -> None:
    """The middle of the bracket within .05 nats; the peak of the process, PyTorch included, below 2 GB."""
    guide = channel(nats, 4)
    found = measured(guide, torch.randn(50_000, 5), num_draws=2)
    middle = (found["information_lower"][0] + found["information_upper"][0]) / 2
    assert abs(middle - nats) < 0.05
    assert found["information_upper"][1] < 0.02
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 * 2**20


def test_numbers_are_evenly_spaced_and_all_there_are_where_enough_are_wanted() -> None:
    assert list(information.evenly(10, 4)) == [0, 2, 5, 7]
    assert list(information.evenly(3, 10)) == [0, 1, 2]
    assert list(information.evenly(3, 0)) == [0]
