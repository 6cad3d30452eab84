"""Every program with one latent vector, against quadrature over it and enumeration of the images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inference.weights import log_weights
from ppl_models import InvalidInput
from ppl_models.distributions import Autoregressive
from ppl_models.guides import DiagonalNormal
from ppl_models.program import LatentProgram
from ppl_models.programs import ConvVAE, LossyVAE, PixelVAE, RecurrentVAE
from tests.ppl_models.programs.family import lively
from tests.ppl_models.programs.latent_family import FAMILY, HYBRIDS

GRID = torch.linspace(-9, 9, 121, dtype=torch.float64)[:, None]


def awake(program: LatentProgram, scale: float = 1.0) -> LatentProgram:
    """``lively``, but for the prior, which must stay on the grid."""
    lively(program, scale)
    for parameter in program.latent_prior.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    return program


def marginal(program: LatentProgram, x: Tensor) -> Tensor:
    """p(x) by the trapezoidal rule over one latent: (N, D) -> (N,)."""
    joint = program.prior().log_prob(GRID)[:, None] + program.likelihood(GRID.unsqueeze(1)).log_prob(x)
    return joint.exp().sum(0).detach() * (GRID[1, 0] - GRID[0, 0])


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("levels", [2, 3])
def test_the_mass_over_all_images_is_one(name: str, levels: int, all_images: Callable) -> None:
    torch.manual_seed(1)
    program = awake(FAMILY[name](levels=levels), 0.7)
    x = all_images(6, levels)
    given = program.likelihood(torch.randn(3, 1, 1, dtype=torch.float64)).log_prob(x).exp().sum(-1)
    torch.testing.assert_close(given, torch.ones(3, dtype=torch.float64))
    assert marginal(program, x).sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("shape", [(2,), (5, 2), (3, 5, 2), (4, 1, 1, 2)])
def test_the_likelihood_takes_any_leading_dimensions(name: str, shape: tuple[int, ...]) -> None:
    program = awake(FAMILY[name](2))
    z = torch.randn(shape, dtype=torch.float64)
    likelihood = program.likelihood(z)
    assert (likelihood.batch_shape, likelihood.event_shape) == (shape[:-1], (6,))
    x = torch.randint(0, 2, (5, 6)).double()
    one_by_one = [program.likelihood(row).log_prob(x) for row in z.reshape(-1, 2)]
    expected = torch.stack(one_by_one).view(*shape[:-1], 5)
    if len(shape) == 4:  # (S, 1, 1) against (5,) images
        torch.testing.assert_close(likelihood.log_prob(x), expected[:, :, 0])
    elif len(shape) > 1:
        torch.testing.assert_close(likelihood.log_prob(x), expected.diagonal(dim1=-2, dim2=-1))


@pytest.mark.parametrize("name", FAMILY)
def test_importance_weights_average_to_the_marginal(name: str) -> None:
    torch.manual_seed(2)
    program = awake(FAMILY[name](), 0.6)
    guide = DiagonalNormal(6, 1, (4,)).double()
    guide.bind(program)
    x = torch.randint(0, 2, (3, 6)).double()
    weights = log_weights(program, guide, x, 4000).exp().detach()
    error = weights.std(0) / 4000**0.5
    assert ((weights.mean(0) - marginal(program, x)).abs() < 5 * error + 1e-12).all()


@pytest.mark.parametrize("name", FAMILY)
def test_draws_have_the_frequencies_that_quadrature_says(name: str, all_images: Callable) -> None:
    torch.manual_seed(3)
    program = awake(FAMILY[name](), 0.7)
    x = all_images(6)
    drawn = program(size=4000)
    truth = (marginal(program, x)[:, None] * x).sum(0)
    assert ((drawn.mean(0) - truth).abs() < 4.5 * (truth * (1 - truth) / 4000).sqrt()).all()
    pairs = (marginal(program, x)[:, None, None] * x[:, :, None] * x[:, None, :]).sum(0)
    found = drawn.T @ drawn / 4000
    assert ((found - pairs).abs() < 4.5 * (pairs * (1 - pairs) / 4000).sqrt() + 1e-6).all()


@pytest.mark.parametrize("name", FAMILY)
def test_a_gradient_reaches_every_parameter(name: str) -> None:
    program = FAMILY[name](2)
    z, x = torch.randn(20, 2), torch.randint(0, 2, (20, 6)).float()
    (program.prior().log_prob(z) + program.likelihood(z).log_prob(x)).sum().backward()
    unread = {"net.blocks.0.conv.weight"} if name == "lossy, blind" else set()
    dead = {n for n, p in program.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert dead <= unread | {n for n in dead if "first.weight" in n and name == "lossy, blind"}


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_hybrid_draws_the_same_by_every_sampler(name: str) -> None:
    program = awake(FAMILY[name](2))
    z = torch.randn(2, 5, 2, dtype=torch.float64)
    likelihood = program.likelihood(z)
    assert isinstance(likelihood, Autoregressive)
    noise = torch.rand(3, 2, 5, 6, dtype=torch.float64)
    drawn = [likelihood.sample((3,), method=m, noise=noise) for m in ("sequential", "fixed-point", "cached")]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], program.likelihood(z.flip(1)).sample((3,), noise=noise)), "z does not matter"


@pytest.mark.parametrize("name", HYBRIDS)
def test_a_hybrids_pixel_depends_on_z_and_on_earlier_pixels_only(name: str) -> None:
    program = awake(FAMILY[name](2))
    likelihood = program.likelihood(torch.randn(1, 2, dtype=torch.float64))
    x = torch.randint(0, 2, (1, 6)).double()
    rank, before = program.ordering.rank, likelihood.net(x)
    for pixel in range(6):
        flipped = x.clone()
        flipped[0, pixel] = 1 - flipped[0, pixel]
        moved = (likelihood.net(flipped) != before).flatten(2).any(-1)[0].tolist()
        assert not any(moved[i] for i in range(6) if rank[i] <= rank[pixel])
        later = [i for i in range(6) if rank[i] > rank[pixel]]
        if name == "lossy, blind":
            assert not any(moved)
        elif later and name.startswith("pixel"):
            assert any(moved[i] for i in later)


def test_the_window_of_the_lossy_decoder_is_what_it_sees() -> None:
    program = lively(LossyVAE(25, 1, (4,), window=3, channels=4, depth=2, shape=(1, 5, 5)))
    likelihood = program.likelihood(torch.zeros(1, 1, dtype=torch.float64))
    x = torch.zeros(1, 25, dtype=torch.float64)
    for pixel, seen in ((12, {13, 16, 17, 18}), (0, {1, 5, 6})):
        flipped = x.clone()
        flipped[0, pixel] = 1
        moved = (likelihood.net(flipped) != likelihood.net(x)).flatten(2).any(-1)[0].nonzero().flatten().tolist()
        assert set(moved) == seen


def test_dropout_of_a_hybrid_is_off_in_draws_and_on_in_scores() -> None:
    program = PixelVAE(6, 2, (5,), channels=8, depth=2, dropout=0.5, shape=(1, 2, 3)).train()
    likelihood, noise = program.likelihood(torch.randn(4, 2)), torch.rand(4, 6)
    assert torch.equal(likelihood.sample(noise=noise), likelihood.sample(noise=noise))
    x = torch.ones(4, 6)
    assert not torch.equal(likelihood.log_prob(x), likelihood.log_prob(x))
    assert program.net.training


def test_the_ordering_of_a_hybrid_is_saved() -> None:
    saved = PixelVAE(6, 2, (5,), channels=4, ordering="random:3", shape=(1, 2, 3))
    other = PixelVAE(6, 2, (5,), channels=4, shape=(1, 2, 3))
    other.load_state_dict(saved.state_dict())
    z, x = torch.randn(3, 2), torch.randint(0, 2, (3, 6)).float()
    torch.testing.assert_close(other.likelihood(z).log_prob(x), saved.likelihood(z).log_prob(x), rtol=0, atol=0)


def test_what_the_nets_refuse() -> None:
    with pytest.raises(InvalidInput, match="stages"):
        ConvVAE(64, 2, ())
    with pytest.raises(InvalidInput, match="one width"):
        RecurrentVAE(64, 2, (8, 9))
    with pytest.raises(InvalidInput, match="known: conv, mlp, recurrent"):
        PixelVAE(64, 2, decoder="cnv")
    with pytest.raises(InvalidInput, match="channel"):
        PixelVAE(12, 2, shape=(3, 2, 2))
    with pytest.raises(InvalidInput, match="encoder"):
        DiagonalNormal(64, 2, encoder="lstm")
    with pytest.raises(InvalidInput, match="shape"):
        DiagonalNormal(64, 2, (4,), encoder="conv")
