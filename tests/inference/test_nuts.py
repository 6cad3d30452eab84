"""NUTS against closed forms: the linear program's posterior, and a mixture whose component is summed out."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC
from pyro.ops.stats import effective_sample_size
from scipy.stats import gamma, norm

from inference.nuts import STATISTICS, Trail, check_continuous, make_kernel, one_chain, sample_posterior
from inference.randomness import keyed_noise
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.errors import InvalidInput, NotADensityError
from ppl_models.program import GenerativeProgram
from ppl_models.programs import MADE, DiscreteVAE, LadderVAE, LinearVAE


@pytest.fixture(scope="module")
def program() -> LinearVAE:
    """Three real pixels, one latent."""
    torch.manual_seed(1)
    program = LinearVAE(3, 1, levels=0)
    with torch.no_grad():
        program.decoder.weight.normal_()
        program.decoder.bias.normal_()
    return program


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.tensor([[0.3, -1.0, 2.0], [4.0, 0.0, -1.5]])


@pytest.fixture(scope="module")
def chains(program, images):
    return sample_posterior(program, images, [5, 9], chains=2, warmup=80, draws=150)


def close_to(drawn: torch.Tensor, mean: float, sd: float) -> None:
    """Draws (chains, draws) of N(mean, sd^2): mean and variance within 4.5 standard errors."""
    centred = (drawn - mean).double()
    for values, expected in ((centred, 0.0), (centred**2, sd**2)):
        error = values.std() / effective_sample_size(values, 0, 1) ** 0.5
        assert abs(values.mean() - expected) < 4.5 * error


def test_mean_and_variance_are_those_of_the_closed_form(program, images, chains) -> None:
    """p(z | x) = N(m w^T (x - b), sigma^2 m), m = 1 / (w^T w + sigma^2) (Tipping & Bishop 1999), written out here."""
    weight, bias = (p.detach().double().numpy().ravel() for p in (program.decoder.weight, program.decoder.bias))
    variance = float(program.scale.detach()) ** 2
    inner = 1 / (weight @ weight + variance)
    assert chains.latents["z"].shape == (2, 150, 2, 1)
    for place, x in enumerate(images.double().numpy()):
        mean, sd = inner * weight @ (x - bias), math.sqrt(variance * inner)
        close_to(chains.latents["z"][:, :, place, 0], mean, sd)


def test_statistics_of_every_draw(program, images, chains) -> None:
    found = chains.statistics
    assert set(found) == set(STATISTICS)
    assert {tuple(value.shape) for value in found.values()} == {(2, 150, 2)}
    assert (found["diverging"] == 0).all()
    assert ((found["acceptance_rate"] > 0) & (found["acceptance_rate"] < 1 + 1e-9)).all()
    assert (found["step_size"][:, :1] == found["step_size"]).all()  # kept after the warm-up
    z = chains.latents["z"].double()
    log_joint = dist.Normal(0.0, 1.0).log_prob(z[..., 0])
    for place in range(2):
        mean = z[:, :, place] * program.decoder.weight.detach().double()[:, 0] + program.decoder.bias.detach().double()
        pixels = dist.Normal(mean, program.scale.detach().double()).log_prob(images[place].double())
        log_joint[:, :, place] += pixels.sum(-1)
    assert (found["potential"] + log_joint).abs().max() < 1e-3


def test_images_and_chains_have_noise_of_their_own_that_nothing_else_moves(program, images, chains) -> None:
    z = chains.latents["z"][..., 0]
    assert (z[0] != z[1]).any()
    alone = sample_posterior(program, images[1:], [9], chains=1, warmup=80, draws=150)
    assert torch.equal(alone.latents["z"][0, :, 0], chains.latents["z"][0, :, 1])
    other = sample_posterior(program, images[1:], [9], chains=1, warmup=80, draws=150, seed=1)
    assert not torch.equal(other.latents["z"], alone.latents["z"])


def test_the_program_is_left_as_it_was(program, images) -> None:
    program.train()
    sample_posterior(program, images[:1], [0], chains=1, warmup=5, draws=4)
    assert program.training
    assert all(p.requires_grad and p.grad is None for p in program.parameters())


@pytest.mark.slow
def test_processes_side_by_side_give_the_same_draws(program, images, chains) -> None:
    again = sample_posterior(program, images, [5, 9], chains=2, warmup=80, draws=150, jobs=2)
    assert torch.equal(again.latents["z"], chains.latents["z"])


class Traced(LinearVAE):
    """The same program with a story of its own, so that its density comes from a trace."""

    def forward(self, x=None, *, size=1):
        return super().forward(x, size=size)


def test_both_ways_to_the_potential_agree(program, images) -> None:
    traced = Traced(3, 1, levels=0)
    traced.load_state_dict(program.state_dict())
    short, start = make_kernel(program, images[:1])
    long, other = make_kernel(traced, images[:1])
    assert start["z"].shape == other["z"].shape == (1, 1)
    for value in (-2.0, 0.0, 1.5):
        z = {"z": torch.full((1, 1), value)}
        assert short.potential_fn(z).item() == pytest.approx(long.potential_fn(z).item(), abs=1e-4)


def test_several_latents() -> None:
    torch.manual_seed(0)
    program = LadderVAE(4, (2, 1), (4, 4))
    found = sample_posterior(program, torch.ones(1, 4), [0], chains=1, warmup=10, draws=6)
    assert {name: tuple(z.shape) for name, z in found.latents.items()} == {"z1": (1, 6, 1, 2), "z2": (1, 6, 1, 1)}


class Switch(GenerativeProgram):
    """A coin c that moves the mean of z to -1 or 2, and x = z + noise of variance 1/2: a mixture, given x too."""

    latents = ("c", "z")
    measure = "density"

    def forward(self, x=None, *, size=1):
        with self.plate(x, size):
            c = pyro.sample("c", dist.Bernoulli(0.25))
            z = pyro.sample("z", dist.Normal(3.0 * c - 1, 1.0))
            return self.observe(dist.Normal(z.unsqueeze(-1), 0.5**0.5).to_event(1), x, size)


def test_a_discrete_latent_is_summed_out_of_the_potential() -> None:
    """-log sum_c p(c) p(z | c) p(x | z), of one z: Pyro's own start has one for each value of c."""
    x = 1.1
    kernel, start = make_kernel(Switch(1, levels=0), torch.tensor([[x]]))
    assert start["z"].shape == (1,)
    for z in (-1.5, 0.0, 2.3):
        coin = sum(w * norm.pdf(z, m, 1) for w, m in ((0.75, -1.0), (0.25, 2.0)))
        expected = -math.log(coin) - norm.logpdf(x, z, 0.5**0.5)
        assert kernel.potential_fn({"z": torch.tensor([z])}).item() == pytest.approx(expected, abs=1e-5)


def test_draws_beside_a_discrete_latent() -> None:
    """x | c ~ N(3 c - 1, 3/2) gives the coin's posterior, and z | x, c is N((3 c - 1 + 2 x) / 3, 1/3)."""
    x = 1.1
    odds = [w * math.exp(-((x - m) ** 2) / 3) for w, m in ((0.75, -1.0), (0.25, 2.0))]
    weight = odds[1] / sum(odds)
    means = np.array([(m + 2 * x) / 3 for m in (-1.0, 2.0)])
    mean = (1 - weight) * means[0] + weight * means[1]
    variance = 1 / 3 + weight * (1 - weight) * (means[1] - means[0]) ** 2
    found = sample_posterior(Switch(1, levels=0), torch.tensor([[x]]), [0], chains=1, warmup=60, draws=150)
    assert set(found.latents) == {"z"}
    close_to(found.latents["z"][:, :, 0], mean, math.sqrt(variance))


class Rate(GenerativeProgram):
    """A rate z ~ Gamma(2, 1), and a count x ~ Poisson(z): p(z | x) = Gamma(2 + x, 2)."""

    latents = ("z",)

    def forward(self, x=None, *, size=1):
        with self.plate(x, size):
            z = pyro.sample("z", dist.Gamma(2.0, 1.0))
            return self.observe(dist.Poisson(z.unsqueeze(-1)).to_event(1), x, size)


def test_a_positive_latent_moves_by_its_logarithm_and_is_returned_as_it_is() -> None:
    """Density of y = log z at x = 3: Gamma(5, 2) at e^y, times e^y."""
    kernel, start = make_kernel(Rate(1), torch.tensor([[3.0]]))
    assert start["z"].shape == (1,)
    values = [kernel.potential_fn({"z": torch.tensor([y])}).item() for y in (-1.0, 0.0, 1.2)]
    expected = [-gamma.logpdf(math.exp(y), 5, scale=0.5) - y for y in (-1.0, 0.0, 1.2)]
    assert np.diff(values) == pytest.approx(np.diff(expected), abs=1e-4)
    found = sample_posterior(Rate(1), torch.tensor([[3.0]]), [0], chains=1, warmup=60, draws=150)
    assert (found.latents["z"] > 0).all()
    close_to(found.latents["z"][:, :, 0], 5 / 2, math.sqrt(5) / 2)


def test_chains_of_a_positive_latent_start_at_logarithms_of_prior_draws() -> None:
    """e^start is a Gamma(2, 1): mean 2, standard deviation sqrt(2)."""
    starts = torch.stack([make_kernel(Rate(1), torch.tensor([[3.0]]))[1]["z"] for _ in range(200)]).exp()
    assert abs(starts.mean() - 2) < 4.5 * (2 / 200) ** 0.5


class Nowhere(Rate):
    """A likelihood that is zero wherever the prior is not."""

    def forward(self, x=None, *, size=1):
        with self.plate(x, size):
            z = pyro.sample("z", dist.Gamma(2.0, 1.0))
            return self.observe(dist.Poisson(0 * z.unsqueeze(-1)).to_event(1), x, size)


def test_an_image_the_program_cannot_make_has_no_posterior() -> None:
    with pytest.raises(InvalidInput, match=r"run 'Nowhere': 100 draws from the prior have p\(x, z\) = 0"):
        sample_posterior(Nowhere(1), torch.tensor([[3.0]]), [0], chains=1, warmup=1, draws=1)


class Funnel(GenerativeProgram):
    """Neal's funnel, whose neck has no step size: NUTS diverges in it."""

    latents = ("v", "w")
    measure = "density"

    def forward(self, x=None, *, size=1):
        with self.plate(x, size):
            v = pyro.sample("v", dist.Normal(0.0, 3.0))
            w = pyro.sample("w", dist.Normal(torch.zeros(5), (v / 2).exp().unsqueeze(-1)).to_event(1))
            return self.observe(dist.Normal(w[..., :1], 30.0).to_event(1), x, size)


def test_divergences_are_told_draw_by_draw() -> None:
    """Those that Pyro itself counts over the same chain, which has some."""
    program, x = Funnel(1, levels=0), torch.zeros(1, 1)
    found = sample_posterior(program, x, [0], chains=1, warmup=20, draws=30).statistics["diverging"][0, :, 0]
    with keyed_noise(0, "nuts", 0, 0):
        kernel, start = make_kernel(program, x)
        mcmc = MCMC(kernel, 30, 20, start, disable_progbar=True)
        mcmc.run()
    expected = mcmc.diagnostics()["divergences"]["chain 0"]
    assert 1 <= len(expected) < 30
    assert torch.nonzero(found)[:, 0].tolist() == expected


def test_a_trail_takes_the_running_mean_apart() -> None:
    """Of what the kernel keeps: the mean of all acceptance rates so far, after the warm-up only."""
    rates, trail = [0.25, 1.0, 0.5], Trail()
    for count in (0, 1, 2, 3):
        mean = float(np.mean(rates[:count])) if count else 0.9
        kernel = SimpleNamespace(
            _mean_accept_prob=mean, step_size=0.1, _potential_energy_last=torch.tensor(7.0 + count),
            diagnostics=lambda: {"divergences": [1]},
        )  # fmt: skip
        trail.record(kernel, {}, "Sample" if count else "Warmup", count)
    found = trail.statistics()
    assert found["acceptance_rate"].tolist() == pytest.approx(rates)
    assert found["potential"].tolist() == [8, 9, 10]
    assert found["diverging"].tolist() == [0, 1, 0]


class Counts(Switch):
    """A discrete latent that cannot be enumerated."""

    def forward(self, x=None, *, size=1):
        with self.plate(x, size):
            c = pyro.sample("c", dist.Poisson(2.0))
            z = pyro.sample("z", dist.Normal(c, 1.0))
            return self.observe(dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), x, size)


def test_what_nuts_cannot_do_is_refused_by_name() -> None:
    for program, words in (
        (MADE(3, hidden=(4,)), "has no latents"),
        (DiscreteVAE(3, 2, hidden=(4,)), "latents z are discrete.*enumerate"),
        (Counts(1, levels=0), "discrete latent c cannot be enumerated"),
    ):
        x = torch.zeros(1, program.data_dim)
        with pytest.raises(InvalidInput, match=words):
            sample_posterior(program, x, [0])
    with pytest.raises(NotADensityError):
        check_continuous(NotADensity(Autoencoder(3, 2, (4,))), torch.zeros(1, 3))


@pytest.mark.parametrize("name", ["chains", "warmup", "draws", "jobs"])
def test_counts_below_one_are_refused(name: str, program, images) -> None:
    with pytest.raises(InvalidInput, match=f"--{name} 0"):
        sample_posterior(program, images, [0, 1], **{name: 0})


def test_one_chain_starts_at_the_prior(program, images) -> None:
    """Without warm-up worth the name the first draws are far from settled, and differ by the key."""
    first = [one_chain(program, images[:1], 1, 1, (seed,))["z"].item() for seed in range(3)]
    assert len(set(first)) == 3
