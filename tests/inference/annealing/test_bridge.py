"""The path: its ends are exactly start and joint, its gradients those of finite differences, in any coordinates."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.annealing import make_bridge
from inference.annealing.bridge import VectorBridge
from inference.annealing.traced import TracedBridge
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, FullRankNormal, LadderNormal
from ppl_models.priors import FlowPrior, MixtureOfNormals
from ppl_models.program import GenerativeProgram, LatentProgram
from ppl_models.programs import VAE, DiscreteVAE, LadderVAE

LOG_2PI = math.log(2 * math.pi)


def vae(prior=None) -> VAE:
    return VAE(4, 2, (6,), prior=prior).double().eval()


IMAGES = torch.tensor([[0.0, 1, 1, 0], [1, 1, 0, 1], [0, 0, 0, 1]]).double()


def log_normal(z: Tensor) -> Tensor:
    return (-(z**2) / 2 - LOG_2PI / 2).sum(-1)


def log_bernoulli(program: VAE, z: Tensor, x: Tensor) -> Tensor:
    logits = program.decoder(z)
    return (x * logits - torch.nn.functional.softplus(logits)).sum(-1)


def test_from_the_prior_the_ends_are_prior_and_joint() -> None:
    program, z = vae(), torch.randn(5, 3, 2, dtype=torch.float64)
    point = make_bridge(program, None, IMAGES).at(z)
    with torch.no_grad():
        prior, likelihood = log_normal(z), log_bernoulli(program, z, IMAGES)
    zero, one = torch.zeros(3).double(), torch.ones(3).double()
    torch.testing.assert_close(point.log_density(zero), prior, rtol=0, atol=1e-12)
    torch.testing.assert_close(point.log_density(one), prior + likelihood, rtol=0, atol=1e-12)
    torch.testing.assert_close(point.log_density(one / 4), prior + likelihood / 4, rtol=0, atol=1e-12)


def test_from_a_guide_the_ends_are_guide_and_joint() -> None:
    program, guide, z = vae(), DiagonalNormal(4, 2, (5,)).double().eval(), torch.randn(5, 3, 2, dtype=torch.float64)
    point = make_bridge(program, guide, IMAGES).at(z)
    with torch.no_grad():
        mean, raw = guide.encode(IMAGES).chunk(2, -1)
        scale = torch.nn.functional.softplus(raw + math.log(math.e - 1)) + 1e-5
        start = (-(((z - mean) / scale) ** 2) / 2 - scale.log() - LOG_2PI / 2).sum(-1)
        joint = log_normal(z) + log_bernoulli(program, z, IMAGES)
    for beta in (0.0, 0.3, 1.0):
        expected = (1 - beta) * start + beta * joint
        found = point.log_density(torch.full((3,), beta, dtype=torch.float64))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


class Positive(LatentProgram):
    """z ~ Gamma(2, 1) on two positive latents, whose density in log z has a Jacobian."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.net = torch.nn.Linear(2, 4)

    def prior(self) -> dist.TorchDistribution:
        one = torch.ones(2, dtype=self.net.weight.dtype)
        return dist.Gamma(2 * one, one).to_event(1)

    def likelihood(self, z: Tensor) -> dist.TorchDistribution:
        return dist.Bernoulli(logits=self.net(z)).to_event(1)


class OnSimplex(Positive):
    """z ~ Dirichlet over three, two real coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim, self.net = 3, torch.nn.Linear(3, 4)

    def prior(self) -> dist.TorchDistribution:
        return dist.Dirichlet(torch.tensor([2.0, 3.0, 4.0], dtype=self.net.weight.dtype))


def bridges() -> dict:
    plain, guide = vae(), DiagonalNormal(4, 2, (5,)).double()
    return {
        "prior": lambda: make_bridge(plain, None, IMAGES),
        "guide": lambda: make_bridge(plain, guide, IMAGES),
        "full-rank guide": lambda: make_bridge(plain, FullRankNormal(4, 2, (5,)).double(), IMAGES),
        "flow prior": lambda: make_bridge(vae(FlowPrior(2, 2, (5,))), None, IMAGES),
        "mixture prior": lambda: make_bridge(vae(MixtureOfNormals(2, 3)), None, IMAGES),
        "traced": lambda: TracedBridge(plain, None, IMAGES),
        "traced guide": lambda: TracedBridge(plain, guide, IMAGES),
        "positive": lambda: make_bridge(Positive().double(), None, IMAGES),
        "simplex": lambda: make_bridge(OnSimplex().double(), None, IMAGES),
        "ladder": lambda: ladder_bridge(None),
        "ladder guide": lambda: ladder_bridge(LadderNormal(4, (2, 1), (5,)).double()),
    }


def ladder_bridge(guide: LadderNormal | None) -> TracedBridge:
    program = LadderVAE(4, (2, 1), (6, 5)).double().eval()
    if guide is not None:
        guide.bind(program)
    return make_bridge(program, guide, IMAGES)


@pytest.mark.parametrize("name", bridges())
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    bridge = bridges()[name]()
    u, small = torch.randn(4, 3, bridge.length, dtype=torch.float64), 1e-6
    point = bridge.at(u)
    for axis in range(bridge.length):
        shift = small * torch.eye(bridge.length, dtype=torch.float64)[axis]
        up, down = bridge.at(u + shift), bridge.at(u - shift)
        start = (up.log_start - down.log_start) / (2 * small)
        ratio = (up.log_ratio - down.log_ratio) / (2 * small)
        torch.testing.assert_close(point.start_gradient[..., axis], start, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(point.ratio_gradient[..., axis], ratio, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("with_guide", [False, True])
def test_the_path_by_traces_is_the_path_by_vectors(with_guide: bool) -> None:
    program, guide = vae(), DiagonalNormal(4, 2, (5,)).double() if with_guide else None
    vector, traced = make_bridge(program, guide, IMAGES), TracedBridge(program, guide, IMAGES)
    assert isinstance(vector, VectorBridge)
    u = torch.randn(5, 3, 2, dtype=torch.float64)
    one, other = vector.at(u), traced.at(u)
    for name in ("log_start", "log_ratio", "start_gradient", "ratio_gradient"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=1e-10)
    for bridge in (vector, traced):
        torch.manual_seed(5)
        drawn = bridge.draw(1, 4000)
        assert drawn.shape == (4000, 2)
        if not with_guide:
            assert drawn.mean(0).abs().max() < 0.1
            assert (drawn.std(0) - 1).abs().max() < 0.1


@pytest.mark.parametrize("kind", [Positive, OnSimplex])
def test_the_start_is_a_density_in_the_coordinates_it_moves_in(kind: type) -> None:
    """It integrates to one over the real coordinates, and its draws have its mean: without the Jacobian neither."""
    bridge = make_bridge(kind().double(), None, IMAGES[:1])
    grid = torch.linspace(-14, 8, 500, dtype=torch.float64)
    u = torch.cartesian_prod(grid, grid).unsqueeze(1)
    mass = bridge.at(u).log_start.exp().flatten() * (grid[1] - grid[0]) ** 2
    assert mass.sum().item() == pytest.approx(1, abs=1e-4)
    mean = (mass.unsqueeze(-1) * u[:, 0]).sum(0)
    drawn = bridge.draw(0, 20_000)
    assert ((drawn.mean(0) - mean).abs() < 5 * drawn.std(0) / 20_000**0.5).all()


def test_latents_go_to_real_coordinates_and_back() -> None:
    for program in (Positive().double(), OnSimplex().double(), LadderVAE(4, (2, 1), (6, 5)).double()):
        bridge = make_bridge(program, None, IMAGES)
        with torch.no_grad():
            trace = pyro.poutine.trace(program).get_trace(IMAGES)
        latents = {name: trace.nodes[name]["value"] for name in program.latents}
        u = bridge.unconstrained(latents)
        assert u.shape == (3, bridge.length)
        back, _ = bridge.constrained(u.unsqueeze(0)) if isinstance(bridge, TracedBridge) else ({"z": u[None]}, None)
        for name, value in latents.items():
            torch.testing.assert_close(back[name][0], value)


def test_discrete_latents_are_summed_out_of_both_ends(switched, three_pixel_images) -> None:
    """c and z at once, by hand in numpy: f_0 = sum_c p(c) p(z | c) and f_1 = sum_c p(c) p(z | c) p(x | z, c)."""
    bridge = make_bridge(switched, None, three_pixel_images)
    assert (bridge.length, bridge.sites, bridge.multiplicity) == (1, ("z",), 3)
    u = torch.randn(5, 8, 1)
    point = bridge.at(u)
    z, x = u.double().numpy(), three_pixel_images.double().numpy()
    slope = switched.slope.detach().double().numpy()
    start, joint = 0.0, 0.0
    for c, (weight, mean) in enumerate(zip(switched.WEIGHTS, switched.MEANS, strict=True)):
        density = weight * np.exp(-((z[..., 0] - mean) ** 2) / 0.5) / np.sqrt(0.5 * np.pi)
        logits = slope * (z + c)
        start = start + density
        joint = joint + density * np.exp((x * logits - np.logaddexp(0, logits)).sum(-1))
    assert np.allclose(point.log_start.numpy(), np.log(start), atol=1e-4)
    assert np.allclose((point.log_start + point.log_ratio).numpy(), np.log(joint), atol=1e-4)


class Shared(GenerativeProgram):
    latents = ("w",)

    def __init__(self) -> None:
        super().__init__(4)

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with self.plate(x, size):
            return self.observe(dist.Bernoulli(logits=w.expand(4)).to_event(1), x, size)


class Counted(Shared):
    latents = ("n", "z")

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with self.plate(x, size):
            n = pyro.sample("n", dist.Poisson(3.0))
            z = pyro.sample("z", dist.Normal(n, 1.0))
            return self.observe(dist.Bernoulli(logits=z.unsqueeze(-1).expand(*z.shape, 4)).to_event(1), x, size)


def test_programs_without_a_path_are_refused_by_name() -> None:
    from ppl_models.programs import MADE

    x = IMAGES.float()
    for program, words in (
        (MADE(4, (5,)), "MADE.*no latents.*use exact"),
        (DiscreteVAE(4, 3, (5,)), "DiscreteVAE.*discrete latents only.*use enumerate"),
        (Shared(), "Shared.*site 'w' outside the plate 'image'"),
        (Counted(), "Counted.*site 'n'.*Poisson.*not listed"),
    ):
        with pytest.raises(InvalidInput, match=words):
            make_bridge(program, None, x)
    with pytest.raises(InvalidInput, match="point mass"):
        make_bridge(vae(), _Point().double(), IMAGES)


class _Point(DiagonalNormal):
    def __init__(self) -> None:
        super().__init__(4, 2, (5,))

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Delta(super().posterior(x).mean).to_event(1)
