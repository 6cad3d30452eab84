"""What every shipped family of one latent vector must keep, against densities in numpy and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from scipy import stats
from torch import Tensor

from inference.objectives import NegativeElbo
from inference.rehearsal import rehearse
from inference.weights import log_weights
from ppl_models import InvalidInput
from ppl_models.guides.batch_norm_mean import BatchNormMean
from ppl_models.guides.delta_normal import DeltaNormal
from ppl_models.guides.inverse_autoregressive import InverseAutoregressive
from ppl_models.guides.low_rank_normal import LowRankNormal
from ppl_models.guides.mixture import Mixture
from ppl_models.guides.student_t import StudentT
from ppl_models.guides.zuko_flow import ZukoFlow
from ppl_models.programs import VAE
from ppl_models.recipes import build_guide, parameters_of
from tests.ppl_models.guides.amortized_families import (
    DENSITIES,
    FAMILIES,
    FORWARD,
    expectation,
    grid,
    lively,
    some_parameters,
)

SHIPPED = {type(make()).__name__: type(make()) for make in FAMILIES.values()}


@pytest.mark.parametrize("latent_dim", [1, 2, 3])
@pytest.mark.parametrize("name", DENSITIES)
def test_the_density_is_that_of_the_formula(name: str, latent_dim: int) -> None:
    guide = lively(name, latent_dim)
    parameters = some_parameters(guide, 4)
    z = 2 * torch.randn(30, 4, latent_dim, dtype=torch.float64)
    found = guide.family(parameters).log_prob(z)
    for image, row in enumerate(parameters.numpy()):
        np.testing.assert_allclose(found[:, image].detach(), DENSITIES[name](guide, row, z[:, image].numpy()), 1e-9)


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_density_integrates_to_one(name: str, latent_dim: int) -> None:
    guide = lively(name, latent_dim)
    z, weights = grid(latent_dim, 10.0 if "student" in name else 6.0)
    posterior = guide.family(some_parameters(guide, 1))
    with torch.no_grad():
        mass = posterior.log_prob(torch.from_numpy(z)[:, None]).exp()[:, 0] @ torch.from_numpy(weights)
    kinks = 3e-3 if name == "zuko" else 1e-6  # at the knots of its splines, where the rule is of second order only
    assert mass.item() == pytest.approx(1, abs=kinks)


def bounded(z: np.ndarray) -> np.ndarray:
    """Functions with all moments under any family: (M, L) -> (M, F)."""
    first, last = z[:, 0], z[:, -1]
    return np.stack(
        [np.sin(first), np.cos(last), np.sin(2 * last), np.tanh(first * last), np.cos(first) * np.sin(last)], -1
    )


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_draws_have_the_moments_of_the_density(name: str, latent_dim: int) -> None:
    guide = lively(name, latent_dim)
    parameters = some_parameters(guide, 2, seed=1)
    posterior = guide.family(parameters)
    for draw in (posterior.sample, posterior.rsample):
        z = draw((20_000,)).detach().numpy()
        for image, row in enumerate(parameters.numpy()):
            truth, found = expectation(name, guide, row, bounded), bounded(z[:, image])
            error = found.std(0) / len(z) ** 0.5
            assert (abs(found.mean(0) - truth) < 4.5 * error).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_of_one_latent_pass_the_test_of_kolmogorov_and_smirnov(name: str) -> None:
    guide = lively(name, 1)
    parameters = some_parameters(guide, 1, seed=2)
    z = guide.family(parameters).sample((5000,)).flatten().numpy()
    if name in FORWARD:  # increasing, for one latent
        noise = np.linspace(-7, 7, 20_001)
        pushed = FORWARD[name](guide, parameters[0].numpy(), noise[:, None])[:, 0]
        truth = lambda value: stats.norm.cdf(np.interp(value, pushed, noise))  # noqa: E731
    else:
        nodes, weights = grid(1, 10.0)
        cumulative = np.cumsum(weights * np.exp(DENSITIES[name](guide, parameters[0].numpy(), nodes)))
        truth = lambda value: np.interp(value, nodes[:, 0], cumulative)  # noqa: E731
    assert stats.kstest(z, truth).pvalue > 1e-3


@pytest.mark.parametrize("latent_dim", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_through_draws_is_that_of_quadrature(name: str, latent_dim: int) -> None:
    guide, step = lively(name, latent_dim), 1e-4
    parameters = some_parameters(guide, 1, seed=3)[0]

    def f(z: np.ndarray) -> np.ndarray:
        return np.sin(z[:, 0]) + np.cos(2 * z[:, -1]) + np.tanh(z[:, 0] * z[:, -1] / 2)

    truth = np.zeros(len(parameters))
    for index in range(len(parameters)):
        change = np.eye(len(parameters))[index] * step
        up, down = (expectation(name, guide, parameters.numpy() + sign * change, f) for sign in (1, -1))
        truth[index] = (up - down) / (2 * step)
    parameters.requires_grad_()
    gradients = []
    for _ in range(40):
        z = guide.family(parameters).rsample((1500,))
        value = torch.sin(z[:, 0]) + torch.cos(2 * z[:, -1]) + torch.tanh(z[:, 0] * z[:, -1] / 2)
        gradients.append(torch.autograd.grad(value.mean(), parameters)[0].numpy())
    found = np.stack(gradients)
    error = found.std(0) / len(found) ** 0.5 + 1e-6
    assert abs(truth).max() > 0.05
    assert (abs(found.mean(0) - truth) < 5 * error).all()


@pytest.mark.parametrize("latent_dim", [1, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_shapes_under_leading_dimensions_and_expansion(name: str, latent_dim: int) -> None:
    guide = lively(name, latent_dim)
    parameters = some_parameters(guide, 5)
    posterior = guide.family(parameters)
    assert (posterior.batch_shape, posterior.event_shape) == ((5,), (latent_dim,))
    one_by_one = [guide.family(row) for row in parameters]
    assert all((q.batch_shape, q.event_shape) == ((), (latent_dim,)) for q in one_by_one)
    for q, shapes in ((posterior, [(), (3,), (2, 3)]), (posterior.expand((4, 5)), [(), (3,), (2, 3)])):
        for shape in shapes:
            z = q.rsample(shape)
            assert z.shape == (*shape, *q.batch_shape, latent_dim)
            truth = torch.stack([own.log_prob(z[..., image, :]) for image, own in enumerate(one_by_one)], -1)
            assert q.log_prob(z).shape == (*shape, *q.batch_shape)
            torch.testing.assert_close(q.log_prob(z), truth)
            torch.testing.assert_close(q.log_prob(z.clone()), truth)
    leading = guide.family(parameters.expand(2, 5, -1))
    assert leading.batch_shape == (2, 5)
    assert leading.expand((4, 2, 5)).rsample().shape == (4, 2, 5, latent_dim)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_values_broadcast_against_the_images_and_between_expanded_copies(name: str, gradients: bool) -> None:
    with torch.set_grad_enabled(gradients):
        check_broadcasting(name)


def check_broadcasting(name: str) -> None:
    guide = lively(name, 3)
    posterior = guide.family(some_parameters(guide, 5))
    one, many = torch.randn(3, dtype=torch.float64), torch.randn(4, 1, 3, dtype=torch.float64)
    torch.testing.assert_close(posterior.log_prob(one), posterior.log_prob(one.expand(5, 3)))
    torch.testing.assert_close(posterior.log_prob(many), posterior.log_prob(many.expand(4, 5, 3)))
    copy = posterior.expand((4, 5))
    small, large = posterior.rsample(), copy.rsample()
    torch.testing.assert_close(copy.log_prob(small), posterior.log_prob(small.clone()).expand(4, 5))
    torch.testing.assert_close(posterior.log_prob(large), copy.log_prob(large.clone()))
    single = guide.family(some_parameters(guide, 1)).expand((6, 1))
    assert single.log_prob(single.rsample()).shape == (6, 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_posterior_is_a_reparameterized_pyro_distribution_over_real_vectors(name: str) -> None:
    posterior = FAMILIES[name](2).eval().posterior(torch.rand(3, 4))
    assert isinstance(posterior, TorchDistributionMixin)
    assert posterior.has_rsample
    assert not posterior.support.is_discrete
    assert posterior.support.check(torch.randn(3, 2)).shape == (3,)
    assert not posterior.sample().requires_grad
    assert posterior.rsample().requires_grad
    with torch.no_grad():
        assert not posterior.rsample().requires_grad


@pytest.mark.parametrize("name", FAMILIES)
def test_permuting_images_permutes_posteriors(name: str) -> None:
    guide = lively(name)
    x, z = torch.rand(5, 4, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    order = torch.tensor([3, 1, 4, 0, 2])
    found = guide.posterior(x).log_prob(z)
    torch.testing.assert_close(guide.posterior(x[order]).log_prob(z[order]), found[order])
    torch.testing.assert_close(guide.posterior(x[:1]).log_prob(z[:1]), found[:1])


@pytest.mark.parametrize("name", FAMILIES)
def test_single_precision_agrees_with_double_and_half_is_raised(name: str) -> None:
    guide = lively(name, 3)
    parameters, z = some_parameters(guide, 6), torch.randn(7, 6, 3, dtype=torch.float64)
    truth = guide.family(parameters).log_prob(z)
    assert truth.dtype == guide.family(parameters).rsample().dtype == torch.float64
    guide.float()
    found = guide.family(parameters.float())
    assert found.log_prob(z.float()).dtype == found.rsample().dtype == torch.float32
    torch.testing.assert_close(found.log_prob(z.float()).double(), truth, rtol=2e-4, atol=2e-4)
    low = guide.family(parameters.bfloat16())
    assert low.log_prob(z.float()).dtype == low.rsample().dtype == torch.float32


@pytest.mark.parametrize("name", FAMILIES)
def test_log_probabilities_keep_their_precision_under_autocast(name: str) -> None:
    guide = lively(name, 3).float()
    parameters, z = some_parameters(guide, 6).float(), torch.randn(7, 6, 3)
    truth = guide.family(parameters).log_prob(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = guide.family(parameters)
        found, drawn = posterior.log_prob(z), posterior.rsample()
        scored = posterior.log_prob(drawn)
    assert found.dtype == drawn.dtype == scored.dtype == torch.float32
    torch.testing.assert_close(found, truth)
    torch.testing.assert_close(scored, guide.family(parameters).log_prob(drawn), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_and_their_gradients_keep_their_precision_under_autocast(name: str) -> None:
    guide = lively(name, 3).float()
    parameters = some_parameters(guide, 6).float().requires_grad_()
    found = []
    for enabled in (False, True):
        torch.manual_seed(7)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            z = guide.family(parameters).rsample((20,))
        gradient = torch.autograd.grad(z.sin().mean(0).sum(), parameters)[0]  # backward passes run outside of autocast
        found.append((z.detach(), gradient))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def marginal(program: VAE, x: Tensor) -> np.ndarray:
    """p(x) of a one-latent Bernoulli VAE by the trapezoidal rule in numpy, from its decoder's weights: (N,)."""
    z, weights = grid(1, 3.5, 0.005)
    h = z
    for number, layer in enumerate(program.decoder[::2]):
        h = np.tanh(h) if number else h
        h = h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    log_p = x.numpy() @ h.T - np.logaddexp(0, h).sum(-1)
    return np.exp(log_p) @ (weights * stats.norm.pdf(z[:, 0]))


@pytest.mark.parametrize("name", FAMILIES)
def test_importance_weights_average_to_the_marginal(name: str) -> None:
    program = VAE(4, 1, (5,)).double()
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 0.8)
    guide = lively(name, 1, **({"rate": 0.05} if name == "delta" else {}))
    with torch.no_grad():  # wide enough that the weights have a light tail
        for part, parameter in guide.named_parameters():
            parameter.mul_(0.1 if part.startswith("encoder") else 0.3)
    guide.bind(program)
    x = torch.randint(0, 2, (4, 4)).double()
    with torch.no_grad():
        weights = log_weights(program, guide, x, 20_000).exp().numpy()
    error = weights.std(0) / len(weights) ** 0.5
    truth = marginal(program, x)
    assert (error < 0.05 * truth).all()
    assert (abs(weights.mean(0) - truth) < 4 * error).all()


@pytest.mark.parametrize("kl", ["auto", "sampled"])
@pytest.mark.parametrize("name", FAMILIES)
def test_training_moves_every_parameter_and_raises_the_bound(name: str, kl: str) -> None:
    program, guide = VAE(4, 2, (8,)), FAMILIES[name](2)
    guide.bind(program)
    x = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0]]).repeat(40, 1)
    x = torch.where(torch.rand_like(x) < 0.05, 1 - x, x)
    rehearse(program, guide, x)
    objective = NegativeElbo(program, guide, num_particles=4, kl=kl)
    before = {n: p.detach().clone() for n, p in objective.named_parameters()}
    optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        loss = objective(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [n for n, p in objective.named_parameters() if torch.equal(p, before[n])] == []
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.3


@pytest.mark.parametrize("latent_dim", [1, 2, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_gradient_reaches_every_parameter_at_the_first_step(name: str, latent_dim: int) -> None:
    guide = FAMILIES[name](latent_dim)
    posterior = guide.posterior(torch.randint(0, 2, (20, 4)).float())
    z = posterior.rsample()
    (z.pow(2).sum(-1) + (z - 1).tanh().sum(-1) + posterior.log_prob(z)).sum().backward()
    assert [n for n, p in guide.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(torch.isfinite(p.grad).all() for p in guide.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_finite_for_extreme_parameters(name: str) -> None:
    guide = lively(name, 2).float()
    size = guide.num_parameters()
    rows = [torch.zeros(size), *(sign * level * torch.ones(size) for sign in (1, -1) for level in (20.0, 60.0))]
    parameters = torch.stack([*rows, 30 * torch.randn(size), 30 * torch.randn(size)]).requires_grad_()
    posterior = guide.family(parameters)
    z = posterior.rsample((50,))
    log_prob = posterior.log_prob(z)
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_prob).all()
    gradient = torch.autograd.grad((z.tanh().sum(-1) + log_prob).sum(), parameters)[0]
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_guide_comes_back(name: str) -> None:
    guide, other = lively(name), lively(name)
    other.load_state_dict(guide.state_dict())
    x, z = torch.rand(5, 4, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(other.posterior(x).log_prob(z), guide.posterior(x).log_prob(z))


@pytest.mark.parametrize("latent_dim", [1, 2, 70])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_guide_is_built_from_the_data_with_defaults(name: str, latent_dim: int) -> None:
    data = {"data_dim": 12, "levels": 5, "shape": [1, 3, 4]}
    options = {"hidden": [4], "encoder": "conv", "nonlinearity": "elu"}
    guide = build_guide(SHIPPED[name], latent_dim, data, options).eval()
    assert guide.levels == 5
    assert type(guide.encoder).__name__ == "ConvEncoder"
    posterior = guide.posterior(torch.randint(0, 5, (3, 12)).float())
    assert posterior.rsample().shape == (3, latent_dim)
    plain = SHIPPED[name](12, latent_dim, (7,), "relu", 3)
    assert (plain.levels, plain.encoder[0].out_features) == (3, 7)


OPTIONS = {
    LowRankNormal: {"rank": (3, 0, "W has at least one column")},
    StudentT: {"per_image": (True, None, None)},
    Mixture: {"components": (2, 0, "a mixture has components")},
    DeltaNormal: {"rate": (0.5, 0.0, "no rate")},
    BatchNormMean: {"gamma": (0.5, 0.0, "no standard deviation"), "momentum": (0.5, 1.5, "no weight of a batch")},
    InverseAutoregressive: {
        "flows": (3, 0, "has flows"),
        "flow_hidden": ([9], [1], "a unit per latent"),
        "context_dim": (2, 0, "must know the image"),
    },
    ZukoFlow: {
        "kind": ("nsf-coupling", "glow", "unknown flow; known: maf, nsf, nsf-coupling"),
        "flows": (3, 0, "has flows"),
        "flow_hidden": ([9], [1], "a unit per latent"),
        "context_dim": (2, 0, "must know the image"),
    },
}


@pytest.mark.parametrize("kind", OPTIONS, ids=lambda kind: kind.__name__)
def test_options_are_known_by_name_and_wrong_ones_refused(kind: type) -> None:
    data = {"data_dim": 4, "levels": 2, "shape": [1, 2, 2]}
    inherited = {"data_dim", "latent_dim", "hidden", "nonlinearity", "levels", "encoder", "shape"}
    assert set(parameters_of(kind)) - {"self"} == inherited | set(OPTIONS[kind])
    for option, (good, bad, problem) in OPTIONS[kind].items():
        assert build_guide(kind, 2, data, {option: good}).posterior(torch.zeros(2, 4)).event_shape == (2,)
        if problem is not None:
            with pytest.raises(InvalidInput, match=problem) as caught:
                build_guide(kind, 2, data, {option: bad})
            assert caught.value.argument == option
    with pytest.raises(InvalidInput, match="one latent vector"):
        kind(4, (2, 1))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LowRankNormal, {"rank": 1.5}),
        (Mixture, {"components": -1}),
        (DeltaNormal, {"rate": -0.1}),
        (DeltaNormal, {"rate": 11.0}),
        (DeltaNormal, {"rate": float("nan")}),
        (BatchNormMean, {"gamma": float("inf")}),
        (BatchNormMean, {"gamma": -1.0}),
        (BatchNormMean, {"momentum": 0.0}),
        (InverseAutoregressive, {"flow_hidden": []}),
        (InverseAutoregressive, {"flow_hidden": [8, 1]}),
    ],
)
def test_further_refusals(kind: type, options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(options))):
        kind(4, 2, **options)
