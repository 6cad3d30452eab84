from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.priors import FlowPrior


def shaken(latent_dim: int = 4, flows: int = 3, amount: float = 0.4) -> FlowPrior:
    prior = FlowPrior(latent_dim, flows, (9,)).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return prior


def to_noise(prior: FlowPrior, z: Tensor) -> Tensor:
    """f(z), written from the formula: e_l = exp(s_l(z_<l)) z_l + m_l(z_<l), then backwards, and so on."""
    for number, net in enumerate(prior.nets):
        if number:
            z = z.flip(-1)
        mean, log_scale = net(z)
        z = log_scale.exp() * z + mean
    return z


@contextmanager
def counted(prior: FlowPrior) -> Iterator[list[int]]:
    """How often each net is evaluated."""
    counts = [0] * len(prior.nets)

    def count(number: int) -> None:
        counts[number] += 1

    handles = [
        net.register_forward_hook(lambda *_, number=number: count(number)) for number, net in enumerate(prior.nets)
    ]
    yield counts
    for handle in handles:
        handle.remove()


def test_the_density_is_the_change_of_variables() -> None:
    """The Jacobian in full: it is found triangular by no assumption."""
    prior = shaken()
    for z in 2 * torch.randn(5, 4, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda point: to_noise(prior, point), z)
        noise = to_noise(prior, z)
        truth = torch.linalg.slogdet(jacobian).logabsdet - noise.square().sum() / 2 - 2 * math.log(2 * math.pi)
        torch.testing.assert_close(prior().log_prob(z), truth)


def test_a_draw_is_the_inverse_of_its_noise() -> None:
    prior = shaken()
    torch.manual_seed(3)
    noise = torch.randn(6, 4, dtype=torch.float64)
    torch.manual_seed(3)
    torch.testing.assert_close(to_noise(prior, prior().rsample((6,))), noise)
    torch.manual_seed(3)
    torch.testing.assert_close(to_noise(prior, prior().sample((6,))), noise)


def test_each_transform_knows_its_determinant_in_the_direction_of_a_draw() -> None:
    """Also after it scored something else."""
    transform = shaken(3, 1)().transforms[0]
    transform.inv(torch.randn(3, dtype=torch.float64))
    noise = torch.randn(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(transform, noise)
    found = transform.log_abs_det_jacobian(noise, transform(noise))
    torch.testing.assert_close(found, torch.linalg.slogdet(jacobian).logabsdet)


def test_a_reparameterized_draw_has_the_gradient_of_its_differences() -> None:
    prior = shaken(3, 2)
    weight = prior.nets[0].net.layers[0].weight

    def draw() -> Tensor:
        torch.manual_seed(5)
        return prior().rsample((4,)).square().sum()

    (gradient,) = torch.autograd.grad(draw(), weight)
    assert gradient.abs().max() > 0
    truth = torch.zeros_like(weight)
    for index in range(weight.numel()):
        values = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                weight.view(-1)[index] += step
            values.append(draw().detach())
        with torch.no_grad():
            weight.view(-1)[index] += 1e-5
        truth.view(-1)[index] = (values[0] - values[1]) / 2e-5
    torch.testing.assert_close(gradient, truth, rtol=1e-5, atol=1e-7)


def test_a_density_costs_one_pass_of_each_net_and_a_draw_one_per_latent() -> None:
    prior = shaken()
    z = torch.randn(7, 4, dtype=torch.float64)
    with counted(prior) as passes:
        prior().expand((7,)).log_prob(z)
        assert passes == [1, 1, 1]
    with counted(prior) as passes:
        prior().sample((7,))
        assert passes == [4, 4, 4]


def test_the_latents_are_reversed_between_two_flows() -> None:
    """Seen from the noise: in one flow the first noise is a function of the first latent alone, in two of all."""
    z = torch.randn(4, dtype=torch.float64)
    for flows, seen in ((1, [True, False, False, False]), (2, [True] * 4)):
        prior = shaken(4, flows)
        torch.manual_seed(3)
        noise = torch.randn(4, dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda point, prior=prior: to_noise(prior, point), z)
        # The last noise of two flows is the first latent's in the first flow and whatever the second flow adds.
        row = jacobian[0] if flows == 1 else jacobian[-1]
        assert (row != 0).tolist() == seen
        torch.manual_seed(3)
        torch.testing.assert_close(to_noise(prior, prior().sample()), noise)


@torch.no_grad()
def test_before_training_it_is_nearly_the_standard_normal() -> None:
    z = 2 * torch.randn(500, 8)
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert (FlowPrior(8, 4)().log_prob(z) - truth).abs().mean() < 0.2


@torch.no_grad()
def test_with_one_latent_it_is_a_normal_distribution() -> None:
    prior = shaken(1, 2)
    z = torch.linspace(-3, 3, 9, dtype=torch.float64)[:, None]
    noise = to_noise(prior, z)[:, 0]
    slope = (noise[-1] - noise[0]) / 6
    truth = torch.distributions.Normal(-noise[4] / slope, 1 / slope).log_prob(z[:, 0])
    torch.testing.assert_close(prior().log_prob(z), truth)


@torch.no_grad()
def test_scales_stay_where_pyro_does_not_clip_them() -> None:
    prior = shaken(3, 1, amount=50.0)
    z = 10 * torch.randn(100, 3, dtype=torch.float64)
    log_scale = prior.nets[0](z)[1]
    assert 2.5 < log_scale.abs().max() <= 3
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(to_noise(prior, z)).sum(-1) + log_scale.sum(-1)
    torch.testing.assert_close(prior().log_prob(z), truth)


def test_it_can_be_copied_and_trained_after_use() -> None:
    prior = shaken()
    z = torch.randn(50, 4, dtype=torch.float64) + 3
    prior().log_prob(z).sum()
    twin = copy.deepcopy(prior)
    optimizer, losses = torch.optim.Adam(twin.parameters(), 0.05), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = -twin().log_prob(z).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1
    assert float(-prior().log_prob(z).mean().detach()) == pytest.approx(losses[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flows": 0}, "flows 0.*standard-normal"),
        ({"hidden": (0,)}, "hidden"),
        ({"nonlinearity": "tahn"}, "tanh"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        FlowPrior(3, **options)
