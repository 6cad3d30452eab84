"""The floor of the batch-normalized guide, and where batch statistics are used."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.objectives import NegativeElbo
from inference.rehearsal import rehearse
from ppl_models.guides.batch_norm_mean import BatchNormMean
from ppl_models.programs import VAE


def mean_rate(guide: BatchNormMean, x: Tensor) -> Tensor:
    """Mean over the images of KL(q(z | x) || N(0, I)), nats."""
    posterior = guide.posterior(x).base_dist
    mu, sigma = posterior.loc.double(), posterior.scale.double()
    return (-sigma.log() + (sigma.square() + mu.square() - 1) / 2).sum(-1).mean()


@pytest.mark.parametrize("gamma", [0.1, 0.6, 2.0])
@pytest.mark.parametrize("images", [2, 3, 50])
def test_the_mean_rate_of_a_batch_has_its_floor(gamma: float, images: int) -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        guide = BatchNormMean(4, 3, (8,), gamma=gamma).train()
        with torch.no_grad():
            for parameter in guide.parameters():
                parameter.mul_(0.1 + 3 * torch.rand(()))
        rate = mean_rate(guide, torch.rand(images, 4))
        shift = guide.batch_norm.shift.double()
        assert rate >= 3 * gamma**2 / 2 - 1e-6
        assert rate >= (gamma**2 + shift.square()).sum() / 2 - 1e-6


def test_minimising_the_mean_rate_leads_to_the_floor() -> None:
    guide, x = BatchNormMean(4, 2, (8,), gamma=0.7).double().train(), torch.rand(30, 4).double()
    with torch.no_grad():
        guide.batch_norm.shift.fill_(1.0)
    optimizer = torch.optim.Adam(guide.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        rate = mean_rate(guide, x)
        assert rate >= 0.49 - 1e-9
        rate.backward()
        optimizer.step()
    assert rate < 0.49 + 1e-2


def test_the_means_of_a_batch_have_the_scale_and_the_shift() -> None:
    guide = BatchNormMean(4, 3, (8,), gamma=0.8).double().train()
    with torch.no_grad():
        guide.batch_norm.shift.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    x = torch.rand(40, 4).double()
    loc = guide.posterior(x).base_dist.loc
    torch.testing.assert_close(loc.mean(0), torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(loc.std(0, unbiased=False), torch.full((3,), 0.8, dtype=torch.float64))
    h = guide.encoder(x)[:, :3]
    torch.testing.assert_close(loc, 0.8 * (h - h.mean(0)) / h.std(0, unbiased=False) + loc.mean(0))


def test_in_evaluation_a_posterior_is_its_own_images_and_follows_the_running_statistics() -> None:
    guide = BatchNormMean(4, 2, (8,)).double().train()
    x = torch.rand(60, 4).double()
    guide.posterior(x[:30])
    guide.posterior(x[30:])
    h = guide.encoder(x)[:, :2]
    halves = torch.stack([h[:30].var(0), h[30:].var(0)]).mean(0)
    guide.eval()
    loc = guide.posterior(x).base_dist.loc
    torch.testing.assert_close(loc, 0.6 * (h - h.mean(0)) / halves.sqrt())  # the first batches count alike
    torch.testing.assert_close(guide.posterior(x[7:8]).base_dist.loc, loc[7:8])
    torch.testing.assert_close(guide.posterior(x.flip(0)).base_dist.loc, loc.flip(0))


def test_later_batches_count_by_the_momentum() -> None:
    norm = BatchNormMean(4, 1, momentum=0.25).batch_norm.train()
    values = [float(v) for v in range(1, 9)]
    mean = 0.0
    for number, value in enumerate(values, 1):
        norm(torch.tensor([[value - 1], [value + 1]]))
        weight = max(0.25, 1 / number)
        mean += weight * (value - mean)
    assert norm.mean.item() == pytest.approx(mean)
    assert norm.variance.item() == pytest.approx(2)  # unbiased


def test_a_batch_of_one_image_is_trained_with_the_running_statistics() -> None:
    guide, x = BatchNormMean(4, 2, (8,)).train(), torch.rand(20, 4)
    guide.posterior(x)
    before = {name: b.clone() for name, b in guide.named_buffers()}
    alone = guide.posterior(x[:1])
    torch.testing.assert_close(alone.base_dist.loc, guide.eval().posterior(x).base_dist.loc[:1])
    assert all(torch.equal(b, before[name]) for name, b in guide.named_buffers())
    alone.rsample().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in guide.parameters())


def test_what_is_done_before_training_leaves_no_trace() -> None:
    program, guide = VAE(4, 2, (8,)), BatchNormMean(4, 2, (8,)).train()
    guide.bind(program)
    before = {name: b.clone() for name, b in guide.named_buffers()}
    x = torch.randint(0, 2, (20, 4)).float()
    rehearse(program, guide, x)
    objective = NegativeElbo(program, guide)
    with torch.no_grad():
        objective(x)
    assert all(torch.equal(b, before[name]) for name, b in guide.named_buffers())
    objective(x)
    assert guide.batch_norm.batches == 1


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_is_that_of_the_whole_formula_statistics_included(training: bool) -> None:
    norm = BatchNormMean(4, 3).double().batch_norm.train(training)
    h = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    if training:
        norm.momentum = 1.0  # so that what the calls leave behind is the same
    assert torch.autograd.gradcheck(norm, (h,))
    images = torch.autograd.functional.jacobian(norm, h)[0, 0, 1, 0]
    assert (images != 0) == training, "in training images move each other"


def test_an_encoder_that_has_collapsed_gives_finite_gradients() -> None:
    guide = BatchNormMean(4, 2, (8,)).train()
    with torch.no_grad():
        guide.encoder[-1].weight.zero_()
    posterior = guide.posterior(torch.rand(10, 4))
    assert torch.equal(posterior.base_dist.loc, torch.zeros(10, 2))
    posterior.rsample().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in guide.parameters())


def test_the_running_statistics_are_saved_with_the_weights() -> None:
    guide, other = BatchNormMean(4, 2, (8,)).train(), BatchNormMean(4, 2, (8,)).eval()
    x = torch.rand(20, 4)
    for _ in range(3):
        guide.posterior(x)
    other.load_state_dict(guide.state_dict())
    assert torch.equal(other.posterior(x).base_dist.loc, guide.eval().posterior(x).base_dist.loc)
    assert {name for name, _ in guide.named_buffers()} == {f"batch_norm.{n}" for n in ("mean", "variance", "batches")}


def test_particles_are_no_images() -> None:
    """The statistics are of the batch, however many particles are drawn from each posterior."""
    program, x = VAE(4, 2, (8,)), torch.randint(0, 2, (20, 4)).float()
    found = []
    for count in (1, 7):
        torch.manual_seed(1)
        guide = BatchNormMean(4, 2, (8,)).train()
        guide.bind(program)
        NegativeElbo(program, guide, num_particles=count)(x)
        found.append(guide.batch_norm.mean.clone())
        assert guide.batch_norm.batches == 1
    assert torch.equal(*found)
