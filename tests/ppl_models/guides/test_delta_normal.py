"""The committed rate of the delta guide, and which priors it is committed against."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from scipy import optimize
from torch import Tensor, nn

from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.guides.batch_norm_mean import BatchNormMean
from ppl_models.guides.delta_normal import DeltaNormal, scales_within
from ppl_models.priors import Prior
from ppl_models.program import GenerativeProgram
from ppl_models.programs import VAE

COMMITTED = (DeltaNormal, BatchNormMean)


def rate_of(posterior: TorchDistribution) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) of every latent in nats, float64."""
    mu, sigma = posterior.base_dist.loc.double(), posterior.base_dist.scale.double()
    return -sigma.log() + (sigma.square() + mu.square() - 1) / 2


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.1, 1.0, 10.0])
def test_the_scales_are_the_roots(rate: float) -> None:
    def excess(s: float) -> float:
        return -math.log(s) + (s * s - 1) / 2 - rate

    lower, upper = scales_within(rate)
    assert lower == pytest.approx(optimize.brentq(excess, 1e-7, 1, xtol=1e-16), rel=1e-7)
    assert upper == pytest.approx(optimize.brentq(excess, 1, 50, xtol=1e-14), rel=1e-7)


@pytest.mark.parametrize("rate", [1e-6, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_posterior_is_below_the_rate(rate: float, dtype: torch.dtype) -> None:
    guide = DeltaNormal(4, 2, rate=rate).to(dtype)
    tolerance = 1e-6 if dtype == torch.float64 else 1e-6 + 1e-6 * rate
    edges = torch.tensor([0.0, -0.0, 1e-30, 1e-8, 1e-3, 0.1, 1, 5, 20, 90, 200], dtype=dtype)
    edges = torch.cat([edges, -edges])
    adversarial = torch.cartesian_prod(edges, edges).repeat_interleave(2, -1)
    for scale in (0.01, 1.0, 10.0):
        found = rate_of(guide.family(scale * torch.randn(20_000, 4, dtype=dtype)))
        assert found.min() >= rate - tolerance
    assert rate_of(guide.family(adversarial)).min() >= rate - tolerance


def test_gradient_descent_on_the_rate_stops_at_the_rate() -> None:
    guide = DeltaNormal(4, 3, rate=0.25).double()
    parameters = torch.randn(50, 6, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.Adam([parameters], 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        found = rate_of(guide.family(parameters))
        assert found.min() >= 0.25 - 1e-9
        found.sum().backward()
        optimizer.step()
    assert found.max() < 0.25 + 0.02


@pytest.mark.parametrize("rate", [0.01, 0.1, 2.0])
def test_the_rate_is_met_exactly_by_the_least_mean_of_either_sign(rate: float) -> None:
    guide = DeltaNormal(4, 1, rate=rate).double()
    raw = torch.linspace(-6, 6, 41, dtype=torch.float64)
    for tiny in (0.0, -1e-12):
        posterior = guide.family(torch.stack([torch.full_like(raw, tiny), raw], -1))
        torch.testing.assert_close(rate_of(posterior)[:, 0], torch.full_like(raw, rate))
        sign = posterior.base_dist.loc[:, 0].sign()
        assert (sign == (1 if tiny == 0 else -1)).all()
    zeros = guide.family(torch.zeros(2, dtype=torch.float64)).base_dist
    assert (zeros.loc.item(), zeros.scale.item()) == pytest.approx((math.sqrt(2 * rate), 1))


def test_the_excess_over_the_rate_is_what_the_docstring_says() -> None:
    guide = DeltaNormal(4, 1, rate=0.3).double()
    parameters = torch.randn(200, 2, dtype=torch.float64)
    posterior = guide.family(parameters)
    m, sigma = parameters[:, :1], posterior.base_dist.scale
    least = (0.6 + 1 + 2 * sigma.log() - sigma.square()).sqrt()
    torch.testing.assert_close(rate_of(posterior), 0.3 + least * m.abs() + m.square() / 2)
    assert (posterior.base_dist.loc.sign() == m.sign()).all()


def test_the_whole_range_of_scales_and_means_is_reached() -> None:
    guide = DeltaNormal(4, 1)
    scale = guide.family(torch.tensor([[0.0, -30.0], [0.0, 30.0]])).base_dist.scale.flatten().tolist()
    assert scale == pytest.approx([0.7023, 1.3313], abs=1e-4)
    loc = guide.family(torch.tensor([[-8.0, 0.0], [8.0, 0.0]])).base_dist.loc.flatten().tolist()
    assert loc == pytest.approx([-8 - 0.2**0.5, 8 + 0.2**0.5])


class Slid(Prior):
    """N(0.1, 1)."""

    def forward(self) -> TorchDistribution:
        return dist.Normal(torch.full((2,), 0.1), torch.ones(2)).to_event(1)


class Wide(Prior):
    """N(0, 1.1), in the scale of one latent."""

    def forward(self) -> TorchDistribution:
        return dist.Normal(torch.zeros(2), torch.tensor([1.0, 1.1])).to_event(1)


class Learned(Prior):
    """N(0, 1) for now."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.loc = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> TorchDistribution:
        return dist.Normal(self.loc, torch.ones(2)).to_event(1)


class Heavy(Prior):
    """Student t of location 0 and scale 1."""

    def forward(self) -> TorchDistribution:
        return dist.StudentT(torch.full((2,), 5.0), torch.zeros(2), torch.ones(2)).to_event(1)


class Correlated(Prior):
    """A normal with unit variances."""

    def forward(self) -> TorchDistribution:
        return dist.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))


class FromGuide(Prior):
    """Made from the guide, so that it is a distribution only once it was told of one."""

    guide: tuple[nn.Module, ...] = ()

    def bind_guide(self, guide: nn.Module) -> None:
        self.guide = (guide,)

    def forward(self) -> TorchDistribution:
        if not self.guide:
            raise InvalidInput("prior", "FromGuide", "was told of no guide", "bind one")
        family = self.guide[0].family(torch.zeros(3, self.guide[0].num_parameters()))
        return dist.MixtureSameFamily(dist.Categorical(torch.ones(3)), family)


class Whole(Prior):
    """N(0, I) as a multivariate normal."""

    def forward(self) -> TorchDistribution:
        return dist.MultivariateNormal(torch.zeros(2), torch.eye(2))


class Expanded(Prior):
    """N(0, I), expanded."""

    def forward(self) -> TorchDistribution:
        return dist.Normal(torch.tensor(0.0), torch.tensor(1.0)).expand([2]).to_event(1)


@pytest.mark.parametrize("kind", COMMITTED)
@pytest.mark.parametrize("prior", [Slid, Wide, Learned, Heavy, Correlated, FromGuide])
def test_another_prior_is_refused_by_name(kind: type, prior: type[Prior]) -> None:
    guide, program = kind(4, 2), VAE(4, 2, prior=prior(2))
    with torch.no_grad(), pytest.raises(InvalidInput) as caught:
        guide.bind(program)
    message = str(caught.value)
    assert not getattr(program.latent_prior, "guide", ()), "a guide that is refused is not told of"
    assert all(part in message for part in (kind.__name__, prior.__name__, "VAE", "N(0, I)", "DiagonalNormal"))
    with pytest.raises(InvalidInput, match="paired with no program"):
        _ = guide.program


@pytest.mark.parametrize("kind", COMMITTED)
def test_a_refusal_leaves_the_prior_with_its_guide(kind: type) -> None:
    program, other = VAE(4, 2, prior=FromGuide(2)), DiagonalNormal(4, 2)
    other.bind(program)
    with pytest.raises(InvalidInput, match="FromGuide"):
        kind(4, 2).bind(program)
    assert program.latent_prior.guide == (other,)


@pytest.mark.parametrize("kind", COMMITTED)
def test_a_standard_normal_in_any_guise_is_accepted_and_a_refusal_keeps_the_pair(kind: type) -> None:
    guide = kind(4, 2)
    for prior in (None, Whole(2), Expanded(2)):
        program = VAE(4, 2, prior=prior)
        guide.bind(program)
        assert guide.program is program
    with pytest.raises(InvalidInput, match="Slid"):
        guide.bind(VAE(4, 2, prior=Slid(2)))
    assert guide.program is program
    assert guide.program.double() is program
    guide.bind(VAE(4, 2).double())


class Bare(GenerativeProgram):
    """A program with latents of its own design and no ``prior``."""

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        raise NotImplementedError


class Own(Bare):
    """A program whose prior is no object."""

    def prior(self) -> TorchDistribution:
        return dist.Laplace(torch.zeros(2), torch.ones(2)).to_event(1)


@pytest.mark.parametrize("kind", COMMITTED)
def test_programs_without_an_object_for_a_prior_are_refused_too(kind: type) -> None:
    with pytest.raises(InvalidInput, match="Bare has no prior of one latent vector"):
        kind(4, 2).bind(Bare(4))
    with pytest.raises(InvalidInput, match="Own has the prior Independent"):
        kind(4, 2).bind(Own(4))
