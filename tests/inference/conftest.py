"""A VAE small enough that its log p(x) is known by quadrature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE


@pytest.fixture
def tiny_vae() -> VAE:
    """One latent, four pixels, a lively decoder: log p(x) is a one-dimensional integral."""
    program = VAE(4, 1, (8,))
    for parameter in program.parameters():
        torch.nn.init.normal_(parameter, 0, 1.0)
    return program


@pytest.fixture
def tiny_guide() -> DiagonalNormal:
    """A guide that is off, so that bounds lie below the truth, but wide enough that its weights have a light tail."""
    guide = DiagonalNormal(4, 1, (8,))
    with torch.no_grad():
        guide.encoder[-1].bias[1] += 1.0
    return guide


@pytest.fixture
def quadrature() -> Callable[[VAE, Tensor], Tensor]:
    """log p(x) of a one-latent Bernoulli VAE by the trapezoidal rule in numpy, from its decoder's weights alone.

    On a smooth integrand that decays like a normal density the rule converges faster than any power of the step.
    """

    def log_evidence(program: VAE, x: Tensor) -> Tensor:
        nodes = np.linspace(-9, 9, 4001)
        weights = np.exp(-(nodes**2) / 2) * (nodes[1] - nodes[0])
        layers = [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in program.decoder[::2]]
        h = nodes[:, None]
        for number, (weight, bias) in enumerate(layers):
            h = h @ weight.T + bias
            h = np.tanh(h) if number < len(layers) - 1 else h
        images = x.double().numpy()
        log_p = images @ h.T - np.logaddexp(0, h).sum(-1)
        top = log_p.max(-1, keepdims=True)
        integral = (np.exp(log_p - top) * weights).sum(-1) / np.sqrt(2 * np.pi)
        return torch.tensor(np.log(integral) + top[:, 0])

    return log_evidence


@pytest.fixture
def four_pixel_images() -> Tensor:
    """All 16 images of four binary pixels."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
