"""Pyro's own tools work on the programs: matched against quadrature or enumeration, never only run."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from torch import Tensor, nn

from inference import registered
from inference.estimators import Elbo
from inference.objectives import NegativeElbo, PyroElbo
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import MADE, VAE


def pair(seed: int) -> tuple[VAE, DiagonalNormal]:
    torch.manual_seed(seed)
    return VAE(4, 2, (8,)), DiagonalNormal(4, 2, (8,))


def moved(module: nn.Module, before: dict[str, Tensor]) -> list[str]:
    return [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    "elbo", [Trace_ELBO(), TraceMeanField_ELBO(), TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)]
)
def test_pyros_elbos_estimate_the_elbo_and_train_every_parameter(elbo: object, four_pixel_images: Tensor) -> None:
    program, guide = pair(0)
    truth = Elbo(guide, 3000)(program, four_pixel_images)
    module = elbo(program, guide)
    losses = torch.stack([module(four_pixel_images).detach() for _ in range(300)]) / 16
    error = 4 * (losses.std() / 300**0.5 + truth.stderr.mean() / 16**0.5)
    assert (-losses.mean() - truth.values.mean()).abs() < error
    before = copy_of(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    module(four_pixel_images).backward()
    optimizer.step()
    assert set(moved(module, before)) == {name for name, _ in module.named_parameters()}


@pytest.mark.parametrize("kl", ["sampled", "analytic"])
@pytest.mark.parametrize("particles", [1, 5])
def test_the_objective_is_minus_the_mean_elbo_per_image(kl: str, particles: int, four_pixel_images: Tensor) -> None:
    program, guide = pair(1)
    truth = Elbo(guide, 3000)(program, four_pixel_images)
    objective = NegativeElbo(program, guide, particles, kl)
    losses = torch.stack([objective(four_pixel_images).detach() for _ in range(300)])
    error = 4 * (losses.std() / 300**0.5 + truth.stderr.mean() / 16**0.5)
    assert (-losses.mean() - truth.values.mean()).abs() < error


def test_svi_trains_two_pairs_side_by_side_through_registered(four_pixel_images: Tensor) -> None:
    pairs = [pair(0), pair(1)]
    before = [[copy_of(module) for module in p] for p in pairs]
    steps = [
        SVI(registered(program), registered(guide), pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
        for program, guide in pairs
    ]
    for _ in range(3):
        for svi in steps:
            svi.step(four_pixel_images)
    for modules, states in zip(pairs, before, strict=True):
        for module, state in zip(modules, states, strict=True):
            assert set(moved(module, state)) == set(state)
    assert not torch.equal(pairs[0][0].decoder[0].weight, pairs[1][0].decoder[0].weight)
    pyro.clear_param_store()


def test_svi_on_the_plain_module_trains_nothing_which_is_why_registered_exists(four_pixel_images: Tensor) -> None:
    program, guide = pair(0)
    before = copy_of(program)
    SVI(program, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO()).step(four_pixel_images)
    assert moved(program, before) == []


@pytest.mark.parametrize("elbo", [RenyiELBO(alpha=0.5, num_particles=2), TraceGraph_ELBO()])
def test_an_elbo_without_a_differentiable_loss_is_refused(elbo: object) -> None:
    with pytest.raises(InvalidInput, match="differentiable"):
        PyroElbo(*pair(0), elbo)


def test_predictive_with_uncondition_draws_from_the_posterior_predictive(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    x = four_pixel_images[5:6]
    draws = Predictive(poutine.uncondition(tiny_vae), guide=tiny_guide, num_samples=1000, parallel=False)(x)["x"]
    z = tiny_guide.posterior(x).sample((20_000,))
    truth = torch.sigmoid(tiny_vae.decoder(z)).mean((0, 1))
    assert (draws.mean((0, 1)) - truth).abs().max() < 4 * (0.25 / 1000) ** 0.5
    assert Predictive(tiny_vae, guide=tiny_guide, num_samples=3)(x)["x"].unique(dim=0).shape[0] == 1


def test_condition_needs_size_and_says_so(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    conditioned = poutine.condition(tiny_vae, {"x": four_pixel_images})
    with pytest.raises(InvalidInput, match="size=N"):
        conditioned()
    trace = poutine.trace(conditioned).get_trace(size=16)
    assert trace.nodes["z"]["value"].shape == (16, 1)
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    logits = tiny_vae.decoder(z)
    truth = (four_pixel_images * logits - torch.nn.functional.softplus(logits)).sum(-1)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], truth)


def test_condition_on_an_autoregressive_program_gives_its_exact_log_prob(four_pixel_images: Tensor) -> None:
    program = MADE(4, (8,), True, "shifted:1").double()
    x = four_pixel_images.double()
    trace = poutine.trace(poutine.condition(program, {"x": x})).get_trace(size=16)
    total = trace.log_prob_sum()
    per_image = torch.stack([program.log_prob(x[i : i + 1])[0] for i in range(16)])
    torch.testing.assert_close(total, per_image.sum())
    assert per_image.exp().sum().item() == pytest.approx(1)


def test_nuts_finds_the_posterior_mean_that_quadrature_gives(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    program = tiny_vae
    for parameter in program.parameters():
        parameter.data *= 0.7
    x = four_pixel_images[6:7]
    kernel = NUTS(program, jit_compile=False)
    mcmc = MCMC(kernel, num_samples=400, warmup_steps=100, disable_progbar=True)
    mcmc.run(x)
    z = mcmc.get_samples()["z"].flatten()
    grid = torch.linspace(-6, 6, 4001)[:, None]
    logits = program.decoder(grid)
    log_joint = (x * logits - torch.nn.functional.softplus(logits)).sum(-1) - grid[:, 0] ** 2 / 2
    weights = torch.softmax(log_joint, 0)
    mean = (weights * grid[:, 0]).sum().item()
    deviation = (weights * (grid[:, 0] - mean) ** 2).sum().sqrt().item()
    # NUTS draws are correlated: a quarter of them count as independent here.
    assert z.mean().item() == pytest.approx(mean, abs=4 * deviation / 100**0.5)


def test_a_program_under_particles_and_enumeration_keeps_one_latent_per_image(four_pixel_images: Tensor) -> None:
    program, _ = pair(0)
    with pyro.plate("particles", 3, dim=-2):
        trace = poutine.trace(program).get_trace(four_pixel_images)
    assert trace.nodes["z"]["value"].shape == (3, 16, 2)
    assert trace.nodes["x"]["fn"].log_prob(four_pixel_images).shape == (3, 16)
