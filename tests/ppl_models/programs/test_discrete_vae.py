from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.priors import AutoregressivePrior, Bits, OneHot, Prior, StandardNormal
from ppl_models.programs.discrete_vae import DiscreteVAE

CODES = ["binary", "one-hot"]


def lively(code: str, hidden: tuple[int, ...] = (8,)) -> DiscreteVAE:
    """Four pixels, three bits or categories, far from uniform."""
    program = DiscreteVAE(4, 3, hidden, code=code).double()
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 1.0)
    return program


def masses_by_hand(program: DiscreteVAE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (S, 3), p(z) (S,) and p(x_i = 1 | z) (S, 4) in numpy, from the weights alone."""
    b = program.latent_prior.logits.detach().numpy()
    if program.code == "binary":
        codes = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
        ones = 1 / (1 + np.exp(-b))
        prior = np.array([np.prod([ones[i] if z[i] else 1 - ones[i] for i in range(3)]) for z in codes])
    else:
        codes, prior = np.eye(3), np.exp(b) / np.exp(b).sum()
    layers = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in program.decoder[::2]]
    h = codes
    for number, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        h = np.tanh(h) if number < len(layers) - 1 else h
    return codes, prior, 1 / (1 + np.exp(-h))


@pytest.mark.parametrize("code", CODES)
def test_prior_and_likelihood_are_the_formula_and_sum_to_one(code: str, all_images: Callable) -> None:
    program, images = lively(code), all_images(4)
    codes, prior, ones = masses_by_hand(program)
    z = torch.tensor(codes)
    assert program.prior().log_prob(z).exp().tolist() == pytest.approx(prior.tolist())
    assert program.prior().log_prob(z).exp().sum().item() == pytest.approx(1)
    truth = np.array([[np.prod(np.where(x == 1, p, 1 - p)) for x in images.numpy()] for p in ones])
    found = program.likelihood(z[:, None]).log_prob(images).exp()
    np.testing.assert_allclose(found.detach().numpy(), truth, rtol=1e-9)
    assert found.sum(-1).tolist() == pytest.approx([1] * len(codes))


def test_one_category_and_an_affine_decoder_are_a_mixture_of_products() -> None:
    program = lively("one-hot", hidden=())
    layer = program.decoder[0]
    for k in range(3):
        z = torch.zeros(3, dtype=torch.float64)
        z[k] = 1
        found = program.likelihood(z).mean
        torch.testing.assert_close(found, torch.sigmoid(layer.weight[:, k] + layer.bias))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (4, 1, 1, 3)])
@pytest.mark.parametrize("levels", [2, 5])
def test_the_likelihood_takes_any_leading_dimensions(code: str, shape: tuple[int, ...], levels: int) -> None:
    program = DiscreteVAE(6, 3, (8,), levels=levels, code=code)
    likelihood = program.likelihood(program.prior().expand(shape[:-1]).sample())
    assert (likelihood.batch_shape, likelihood.event_shape) == (shape[:-1], (6,))
    draw = likelihood.sample()
    assert draw.dtype == torch.float32
    assert 0 <= draw.min() <= draw.max() <= levels - 1


@pytest.mark.parametrize("code", CODES)
def test_generated_images_have_the_marginals_of_the_enumeration(code: str) -> None:
    program = lively(code)
    _, prior, ones = masses_by_hand(program)
    truth = torch.tensor(prior @ ones)
    error = (truth * (1 - truth) / 5000).sqrt()
    assert ((program(size=5000).mean(0) - truth).abs() < 4 * error).all()


@pytest.mark.parametrize("code", CODES)
def test_codes_are_floats_of_the_programs_precision(code: str) -> None:
    program = DiscreteVAE(6, 3, (8,), code=code)
    assert program.prior().sample(torch.Size([9])).dtype == torch.float32
    z = program.double().prior().sample(torch.Size([9]))
    assert z.dtype == torch.float64
    assert set(z.unique().tolist()) <= {0.0, 1.0}
    assert (z.sum(-1) == 1).all() or code == "binary"
    assert program(size=2).dtype == torch.float64


@pytest.mark.parametrize("code", CODES)
def test_a_gradient_reaches_every_parameter_the_priors_too(code: str) -> None:
    program = lively(code)
    x = torch.randint(0, 2, (20, 4)).double()
    z = torch.tensor(masses_by_hand(program)[0])
    joint = program.prior().log_prob(z)[:, None] + program.likelihood(z[:, None]).log_prob(x)
    joint.logsumexp(0).sum().backward()
    assert [n for n, p in program.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert "latent_prior.logits" in dict(program.named_parameters())


def test_priors_of_the_same_kind_may_be_given() -> None:
    assert isinstance(DiscreteVAE(6, 3).latent_prior, Bits)
    assert isinstance(DiscreteVAE(6, 3, code="one-hot").latent_prior, OneHot)
    program = DiscreteVAE(6, 3, (8,), prior=AutoregressivePrior(3))
    assert isinstance(program.latent_prior, AutoregressivePrior)
    assert program(size=4).shape == (4, 6)


class WithoutKind(Prior):
    def forward(self) -> TorchDistribution:
        like: Tensor = torch.ones(self.latent_dim)
        return dist.OneHotCategorical(like)


def test_unknown_codes_and_priors_over_something_else_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"code 'onehot'.*did you mean one-hot"):
        DiscreteVAE(6, 3, code="onehot")
    with pytest.raises(InvalidInput, match=r"StandardNormal.*continuous latents.*such as Bits\(3\)"):
        DiscreteVAE(6, 3, prior=StandardNormal(3))
    with pytest.raises(InvalidInput, match=r"binary latents.*such as OneHot\(3\)"):
        DiscreteVAE(6, 3, prior=Bits(3), code="one-hot")
    with pytest.raises(InvalidInput, match="of length 4, the code is binary of 3"):
        DiscreteVAE(6, 3, prior=Bits(4))
    with pytest.raises(InvalidInput, match="whose kind is one-hot"):
        DiscreteVAE(6, 3, prior=WithoutKind(3), code="one-hot")
    with pytest.raises(InvalidInput, match="latent_dim 0"):
        DiscreteVAE(6, 0)
