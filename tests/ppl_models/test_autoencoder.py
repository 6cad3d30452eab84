from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity


@pytest.fixture
def baseline() -> NotADensity:
    return NotADensity(Autoencoder(6, 2, (8,))).double()


def identity(data_dim: int = 5, **options: object) -> Autoencoder:
    """An autoencoder of real values whose encoder and decoder hand on what they get."""
    net = Autoencoder(data_dim, data_dim, (), levels=0, **options)
    with torch.no_grad():
        for layer in (net.encoder[0], net.decoder[0]):
            layer.weight.copy_(torch.eye(data_dim))
            layer.bias.zero_()
    return net


@pytest.mark.parametrize("question", [lambda b, x: b(x), lambda b, x: b(size=3), lambda b, x: b.log_prob(x)])
def test_every_question_about_probability_is_answered_by_the_reason(question: Callable, baseline: NotADensity) -> None:
    with pytest.raises(NotADensityError, match=r"does not sum to one.*codes have no prior") as caught:
        question(baseline, torch.zeros(2, 6, dtype=torch.float64))
    assert "\n" not in str(caught.value)
    assert "autoencoder_gmm" in str(caught.value), "the remedy"
    assert "fit_code_density" in str(caught.value), "the remedy"


def test_the_pseudo_likelihood_has_a_mass_that_is_not_one_and_moves_with_sigma(
    baseline: NotADensity, all_images: Callable
) -> None:
    x = all_images(6)
    masses = [baseline.pseudo_log_prob(x, sigma).exp().sum().item() for sigma in (0.3, 0.5, 1.0)]
    assert all(abs(mass - 1) > 0.05 for mass in masses)
    assert max(masses) / min(masses) > 2


def test_the_pseudo_likelihood_is_the_gaussian_formula(baseline: NotADensity) -> None:
    x = torch.rand(4, 6, dtype=torch.float64)
    normal = torch.distributions.Normal(baseline.reconstruct(x), 0.7)
    torch.testing.assert_close(baseline.pseudo_log_prob(x, 0.7), normal.log_prob(x).sum(-1))
    with pytest.raises(InvalidInput, match="sigma"):
        baseline.pseudo_log_prob(x, 0.0)


def test_grey_images_are_reconstructed_on_their_own_scale() -> None:
    net = Autoencoder(6, 2, (8,), levels=17)
    with torch.no_grad():
        net.decoder[-1].bias.copy_(torch.tensor([-50.0, -1.0, 0.0, 1.0, 3.0, 50.0]))
        net.decoder[-1].weight.zero_()
    expected = torch.tensor([0, 16 / (1 + math.e), 8, 16 / (1 + 1 / math.e), 16 / (1 + math.exp(-3)), 16])
    torch.testing.assert_close(net(torch.full((3, 6), 16.0)), expected.expand(3, 6))
    torch.testing.assert_close(net.encode(torch.full((3, 6), 16.0)), net.encoder(torch.ones(3, 6)))


def test_real_values_are_taken_and_given_as_they_are() -> None:
    x = torch.tensor([[-3.5, 0.0, 0.25, 7.0, 100.0]])
    torch.testing.assert_close(identity()(x), x)
    program = NotADensity(identity())
    program.check(x)
    with pytest.raises(InvalidInput, match="finite"):
        program.check(x / 0)
    with pytest.raises(InvalidInput, match="binarize"):
        NotADensity(Autoencoder(5, 2)).check(x)


@pytest.mark.parametrize("levels", [0, 2, 17])
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_both_architectures_take_any_leading_dimensions_and_learn_with_every_weight(
    architecture: str, levels: int
) -> None:
    net = Autoencoder(12, 3, (4, 6), "elu", levels, architecture, (1, 4, 3))
    x = torch.randint(0, max(levels, 2), (2, 5, 12)).float()
    assert net.encode(x).shape == (2, 5, 3)
    assert net(x).shape == (2, 5, 12)
    assert net.squared_error(x).shape == (2, 5)
    torch.testing.assert_close(net(x)[1, 3], net(x[1, 3:4])[0])
    net.squared_error(x).sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_convolutional_one_is_convolutional_and_the_decoder_mirrors_the_encoder() -> None:
    wide = [p.shape for p in Autoencoder(12, 3, (4, 6), architecture="mlp").parameters()]
    assert wide == [(4, 12), (4,), (6, 4), (6,), (3, 6), (3,), (6, 3), (6,), (4, 6), (4,), (12, 4), (12,)]
    net = Autoencoder(12, 3, (4, 6), "elu", architecture="conv", shape=(1, 4, 3))
    sizes = [m.out_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sizes[0] == 8, "4 channels and their gates"
    assert sizes[-1] == 1


def test_an_image_is_corrupted_in_training_and_nowhere_else() -> None:
    net, x = Autoencoder(64, 2, (8,), corruption=0.5), torch.ones(9, 64)
    clean = net.decode(net.encode(x))
    assert net.training
    assert not torch.equal(net(x), clean)
    assert not torch.equal(net(x), net(x)), "the noise is drawn anew"
    torch.testing.assert_close(net.encode(x), net.encoder(x), msg="a code is that of the image itself")
    net.eval()
    torch.testing.assert_close(net(x), clean)
    torch.testing.assert_close(net.corrupt(x), x)
    assert torch.equal(Autoencoder(64, 2, (8,)).corrupt(x), x), "no corruption unless asked for"


def rate(hit: Tensor, probability: float) -> bool:
    """Whether so many were hit as independent coins of that probability may be: within 4 standard errors."""
    return abs(hit.double().mean().item() - probability) < 4 * math.sqrt(probability * (1 - probability) / hit.numel())


def test_masked_pixels_are_black_and_flipped_ones_mirrored() -> None:
    x = torch.randint(1, 5, (400, 50)).float()
    masked = Autoencoder(50, 2, levels=5, corruption=0.3, noise="masking").corrupt(x)
    assert set((masked / x).unique().tolist()) == {0.0, 1.0}
    assert rate(masked == 0, 0.3)
    flipped = Autoencoder(50, 2, levels=5, corruption=0.2, noise="flip").corrupt(x)
    assert ((flipped == x) | (flipped == 4 - x)).all()
    odd = x != 2  # the middle of five levels is its own mirror image
    assert rate((flipped != x)[odd], 0.2)


@pytest.mark.parametrize(("levels", "unit"), [(17, 16.0), (0, 1.0)])
def test_gaussian_noise_has_its_scale_in_units_of_the_range(levels: int, unit: float) -> None:
    x = torch.full((400, 50), 3.0)
    noise = Autoencoder(50, 2, levels=levels, corruption=0.25).corrupt(x) - x
    spread = 0.25 * unit
    assert abs(noise.mean()) < 4 * spread / math.sqrt(20_000)
    assert abs(noise.std() / spread - 1) < 4 / math.sqrt(2 * 20_000)


def test_auto_masks_binary_pixels() -> None:
    x = torch.ones(100, 50)
    assert set(Autoencoder(50, 2, corruption=0.4).corrupt(x).unique().tolist()) == {0.0, 1.0}


def test_the_error_is_taken_from_the_clean_image() -> None:
    net, x = identity(corruption=0.5, noise="masking"), torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]])
    errors = net.squared_error(x.expand(500, 5))
    possible = {sum(v for bit, v in enumerate((1.0, 4.0, 16.0, 64.0, 256.0)) if n >> bit & 1) for n in range(32)}
    assert set(errors.tolist()) <= possible, "what the masked pixels are worth"
    assert errors.std() > 0
    assert abs(errors.mean() - 341 / 2) < 4 * errors.std() / math.sqrt(500)
    assert net.eval().squared_error(x).item() == 0


def test_the_error_of_grey_images_is_on_the_scale_from_zero_to_one() -> None:
    net = Autoencoder(6, 2, (8,), levels=17)
    x = torch.randint(0, 17, (3, 6)).float()
    torch.testing.assert_close(net.squared_error(x), ((x - net(x)) / 16).square().sum(-1))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"latent_dim": 0}, "latent_dim"),
        ({"levels": 1}, "levels"),
        ({"levels": -2}, "levels"),
        ({"architecture": "convolutional"}, "architecture .*did you mean conv"),
        ({"architecture": "conv"}, "shape"),
        ({"architecture": "conv", "shape": (1, 3, 3)}, "shape .*6 pixels"),
        ({"architecture": "conv", "shape": (1, 2, 3), "hidden": ()}, "hidden"),
        ({"noise": "gausian"}, "noise .*did you mean gaussian"),
        ({"noise": "flip", "levels": 0}, "noise .*real values"),
        ({"corruption": -0.1}, "corruption"),
        ({"corruption": math.nan}, "corruption"),
        ({"corruption": math.inf, "noise": "gaussian"}, "corruption"),
        ({"corruption": 1.5}, "corruption .*probability"),
    ],
)
def test_options_that_make_no_autoencoder_are_refused(options: dict, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        Autoencoder(6, **{"latent_dim": 2} | options)


def test_gaussian_noise_may_be_wider_than_the_range() -> None:
    assert Autoencoder(6, 2, corruption=1.5, noise="gaussian").corruption == 1.5
