"""The families of one pixel: how they are named, and the logistic one inside programs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pyro.infer import Trace_ELBO

from ppl_models import InvalidInput
from ppl_models.distributions import (
    BernoulliPixels,
    CategoricalPixels,
    DiscretizedLogisticMixture,
    LogisticPixels,
    pixel_family,
)
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import FVSBN, MADE, VAE, IndependentPixels
from ppl_models.recipes import RECIPES, build, parameters_of

SAMPLERS = ["sequential", "fixed-point", "cached"]


@pytest.mark.parametrize(
    ("levels", "likelihood", "kind", "parameters"),
    [
        (2, "auto", BernoulliPixels, 1),
        (3, "auto", CategoricalPixels, 3),
        (32, "auto", CategoricalPixels, 32),
        (33, "auto", LogisticPixels, 15),
        (256, "auto", LogisticPixels, 15),
        (2, "bernoulli", BernoulliPixels, 1),
        (2, "categorical", CategoricalPixels, 2),
        (256, "categorical", CategoricalPixels, 256),
        (2, "logistic", LogisticPixels, 15),
        (4, "logistic:1", LogisticPixels, 3),
        (256, "logistic:10", LogisticPixels, 30),
    ],
)
def test_a_family_is_named(levels: int, likelihood: str, kind: type, parameters: int) -> None:
    family = pixel_family(levels, likelihood)
    assert type(family) is kind
    assert (family.levels, family.num_parameters) == (levels, parameters)


@pytest.mark.parametrize(
    ("levels", "likelihood", "words"),
    [
        (1, "auto", ["levels 1", "at least two"]),
        (3, "bernoulli", ["likelihood 'bernoulli'", "3 values", "categorical"]),
        (256, "logistc", ["likelihood 'logistc'", "did you mean logistic"]),
        (256, "logistic:0", ["'logistic:0'", "logistic:5"]),
        (256, "logistic:-1", ["'logistic:-1'", "logistic:5"]),
        (256, "logistic:", ["'logistic:'", "logistic:5"]),
        (256, "logistic:two", ["'logistic:two'", "logistic:5"]),
        (256, "categorical:3", ["'categorical:3'", "unknown"]),
        (256, "auto:3", ["'auto:3'", "unknown"]),
        (256, "", ["likelihood ''", "known: auto"]),
    ],
)
def test_what_is_no_family_is_refused_in_one_line(levels: int, likelihood: str, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        pixel_family(levels, likelihood)
    for word in words:
        assert word in str(caught.value)


def test_a_logistic_family_has_levels_and_components() -> None:
    with pytest.raises(InvalidInput, match="components 0"):
        LogisticPixels(256, 0)
    with pytest.raises(InvalidInput, match="levels 1"):
        LogisticPixels(1)


@pytest.mark.parametrize("components", [1, 2, 5])
def test_zero_parameters_spread_the_components(components: int) -> None:
    d = LogisticPixels(256, components).distribution(torch.zeros(3 * components))
    assert isinstance(d, DiscretizedLogisticMixture)
    assert d.means.tolist() == pytest.approx([(2 * k + 1) / components - 1 for k in range(components)])
    assert d.log_scales.exp().tolist() == pytest.approx([1 / (2 * components)] * components)
    # The divergence of a uniform pixel from it: nearly none for several components.
    excess = -d.log_prob(torch.arange(256.0)).mean().item() - math.log(256)
    assert 0 < excess < {1: 0.3, 2: 0.15, 5: 0.05}[components]


def test_parameters_are_logits_then_means_then_log_scales() -> None:
    d = LogisticPixels(256, 2).distribution(torch.tensor([1.0, 2.0, 0.1, 0.2, -1.0, 3.0]))
    assert d.logits.tolist() == [1, 2]
    assert d.means.tolist() == pytest.approx([-0.4, 0.7])
    assert d.log_scales.tolist() == pytest.approx([-1 - math.log(4), 3 - math.log(4)])


def test_the_family_scores_and_draws_as_its_pyro_distribution() -> None:
    family = LogisticPixels(20, 3)
    parameters = torch.randn(7, 5, 9, dtype=torch.float64)
    d = family.distribution(parameters)
    x = torch.randint(0, 20, (7, 5)).double()
    assert torch.equal(family.log_prob(parameters, x), d.log_prob(x))
    assert family.log_prob(parameters[0], x).shape == family.log_prob(parameters, x[0]).shape == (7, 5)
    assert torch.equal(family.mean(parameters), d.mean)
    cumulative = d.log_prob(torch.arange(20.0).double().view(-1, 1, 1)).exp().cumsum(0)[:-1]
    noise = torch.rand(4000, 7, 5)
    drawn = family.draw(parameters, noise)
    assert drawn.dtype == noise.dtype
    assert torch.equal(drawn.double(), (noise.unsqueeze(1) >= cumulative).sum(1).double())


def test_half_precision_parameters_are_scored_in_float32() -> None:
    family, parameters = LogisticPixels(256), torch.full((784, 15), 0.5, dtype=torch.bfloat16)
    score = family.log_prob(parameters, torch.full((784,), 40.0))
    assert score.dtype == family.mean(parameters).dtype == torch.float32
    # 0.5 is exact in half precision; the offsets of means and scales, which are not, are added in float32.
    assert torch.equal(score, family.log_prob(parameters.float(), torch.full((784,), 40.0)))


def test_no_tensor_has_an_entry_per_level() -> None:
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    family, parameters = LogisticPixels(256, 2), torch.zeros(10, 30, 6)
    x, noise = torch.full((10, 30), 3.0), torch.rand(10, 30)
    with Watch():
        family.log_prob(parameters, x)
        family.draw(parameters, noise)
    assert largest == parameters.numel()


def lively(program: torch.nn.Module, spread: float = 1.0) -> torch.nn.Module:
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, spread)
    return program.double().eval()


@pytest.mark.parametrize("ordering", ["raster", "shifted:1", "random:3"])
def test_a_logistic_made_is_a_density_and_all_samplers_agree(ordering: str, all_images: Callable) -> None:
    program = lively(MADE(3, (20,), True, ordering, levels=4, likelihood="logistic:2"))
    with torch.no_grad():
        assert program.log_prob(all_images(3, 4)).exp().sum().item() == pytest.approx(1, abs=1e-12)
    noise = torch.rand(500, 3, dtype=torch.float64)
    draws = [program.distribution().sample(torch.Size((500,)), method=m, noise=noise) for m in SAMPLERS]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])
    assert sorted(draws[0].unique().tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", [MADE, FVSBN])
def test_all_samplers_agree_on_256_levels(kind: type) -> None:
    program = lively(kind(12, levels=256), 0.1)
    assert isinstance(program.family, LogisticPixels)
    noise = torch.rand(30, 12, dtype=torch.float64)
    draws = [program.distribution().sample(torch.Size((30,)), method=m, noise=noise) for m in SAMPLERS]
    assert torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])
    assert len(draws[0].unique()) > 100


def fit(program: IndependentPixels, x: torch.Tensor, steps: int) -> float:
    """Maximise the likelihood; the last mean of -log p(x), nats."""
    optimizer = torch.optim.Adam(program.parameters(), 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -program.log_prob(x).mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def test_independent_pixels_learn_a_pixel_of_256_levels() -> None:
    """Half of it is black and half spread over 40 levels: its cross-entropy is at least ln 2 + 1/2 ln 40 (Gibbs)."""
    x = torch.cat([torch.zeros(40), torch.arange(100.0, 140.0)])[:, None]
    entropy = math.log(2) + math.log(40) / 2
    program = IndependentPixels(1, levels=256)
    loss = fit(program, x, 400)
    assert entropy <= loss < entropy + 0.1
    assert program.log_prob(torch.arange(256.0)[:, None]).exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert ((program(size=4000) == 0).float().mean() - 0.5).abs() < 4 * (0.25 / 4000) ** 0.5 + 0.02


def test_independent_pixels_of_real_values_reach_their_maximum_likelihood() -> None:
    """Normal pixels, each with its own mean and all with one deviation s: the mean is -D/2 (ln 2 pi s^2 + 1)."""
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.5, 1.0, 2.0]) - 1.5
    program = IndependentPixels(3, levels=0)
    loss = fit(program, x, 600)
    program.check(x)
    assert program.measure == "density"
    expected = -1.5 * ((2 * math.pi * x.var(0, correction=0).mean()).log() + 1)
    assert -loss == pytest.approx(expected.item(), abs=1e-3)


@pytest.mark.parametrize("levels", [0, 5])
@pytest.mark.parametrize("recipe", [name for name, r in RECIPES.items() if "likelihood" in parameters_of(r)])
def test_gaussian_pixels_have_a_density_in_every_recipe(recipe: str, levels: int) -> None:
    """Called a mass, it would be compared with probabilities."""
    program, _ = build(recipe, {"data_dim": 30, "levels": levels, "shape": [1, 6, 5]}, {"likelihood": "gaussian"})
    assert program.measure == "density"
    if levels:
        program, _ = build(recipe, {"data_dim": 30, "levels": levels, "shape": [1, 6, 5]})
        assert program.measure == "mass"


@pytest.mark.parametrize("likelihood", ["auto", "categorical", "logistic:2"])
def test_independent_pixels_and_vae_take_a_likelihood(likelihood: str) -> None:
    family = pixel_family(256, likelihood)
    for program in (IndependentPixels(3, 256, likelihood), VAE(3, 2, (8,), levels=256, likelihood=likelihood)):
        assert type(program.family) is type(family)
        assert program.family.num_parameters == family.num_parameters


def test_a_vae_of_256_levels_is_scored_drawn_and_trained_by_pyro() -> None:
    program, guide = VAE(3, 2, (8,), levels=256), DiagonalNormal(3, 2, (8,), levels=256)
    z = torch.randn(5, 1, 2)
    grid = torch.arange(256.0)
    likelihood = program.likelihood(z)
    assert (likelihood.batch_shape, likelihood.event_shape) == ((5, 1), (3,))
    x = torch.zeros(256, 3)
    x[:, 1] = grid
    conditional = likelihood.log_prob(x)
    rest = likelihood.base_dist.log_prob(torch.zeros(3)).squeeze(1)[:, [0, 2]].sum(-1, keepdim=True)
    assert ((conditional - rest).exp().sum(-1) - 1).abs().max() < 1e-5
    images = torch.randint(0, 256, (20, 3)).float()
    Trace_ELBO().differentiable_loss(program, guide, images).backward()
    for module in (program, guide):
        assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    drawn = program(size=50)
    program.check(drawn)
