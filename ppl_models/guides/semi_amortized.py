"""The semi-amortized guide of Kim et al. (2018, 1802.02550): an encoder's answer, refined for every image by a few
gradient steps on that image's own ELBO."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32
from ..errors import InvalidInput
from ..program import GenerativeProgram
from .diagonal_normal import DiagonalNormal
from .laplace import check_density, log_joint, steady


class SemiAmortized(DiagonalNormal):
    """q(z | x) = N(z; mu_T, diag sigma_T^2), T steps up the ELBO of the image from the encoder's mu_0(x), sigma_0(x).

    The ELBO of an image is taken at fixed noise, S / 2 draws and their negatives, so that ``posterior(x)`` is a
    function of the image alone and has no noise of its own:

        ELBO(mu, sigma) = 1/S sum_s log p(x, mu + sigma e_s) + sum_l log sigma_l + const

    A step follows the natural gradient, (sigma^2 d/dmu, 1/2 d/dlog sigma), which measures it in standard deviations of
    q, and so stays of order 1 however sharp the posterior is (Amari 1998). It is multiplied by a learned size per
    parameter, and shortened where it would move q by more than ``radius`` standard deviations (root mean square over
    the L latents, a step of log sigma counting double): gradients of images that the program does not know yet are
    hundreds of nats per unit. Kim et al. use the plain gradient and clip its norm.

    Unless gradients are off, the steps are differentiated too: encoder, program and step sizes learn what makes the
    refined bound high, as in back-propagation through approximate inference. Training that took
    the steps for constants was tried and left out (digits, T = 3, 25 epochs, one seed: an ELBO of -31.4 on validation
    images with S = 8, and of -17.8 with the steps followed). ``encode`` and ``family`` stay the unrefined ones. One
    image costs T evaluations of S samples with their gradients, and about three times that in training.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        steps: T.
        num_draws: S, an even number; from 2 L on the draws have exactly the second moments of N(0, I), and below in
            each latent by itself.
        step_size: of each parameter before training; 1 is the whole natural gradient.
        radius: bound on a step, in standard deviations.
        options: those of ``DiagonalNormal``, for the encoder.

    Raises:
        InvalidInput: for fewer than one step, an odd or no number of draws, or a size or radius that is not positive.
    """

    expresses = "diagonal normal"

    noise: Tensor

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        steps: int = 5,
        num_draws: int = 8,
        step_size: float = 0.5,
        radius: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        if steps < 1:
            raise InvalidInput("steps", steps, "a refinement has steps", "give at least 1, or use DiagonalNormal")
        if num_draws < 2 or num_draws % 2:
            raise InvalidInput("num_draws", num_draws, "draws come with their negatives", "give an even number")
        for name, value in (("step_size", step_size), ("radius", radius)):
            if not value > 0:
                raise InvalidInput(name, value, "a step has a positive length", "write for example 0.5")
        self.steps, self.radius = int(steps), float(radius)
        # Saved with the weights: another noise would be another guide.
        self.register_buffer("noise", base_draws(num_draws, self.latent_dim))
        self.log_step = nn.Parameter(torch.full((2, self.latent_dim), math.log(step_size)))

    def bind(self, program: GenerativeProgram) -> None:
        """Pair with a program.

        Raises:
            InvalidInput: as ``check_density``.
        """
        super().bind(program)
        check_density(self, program)

    def posterior(self, x: Tensor) -> TorchDistribution:
        """The refined q(z | x): (N, D) -> batch shape (N,), event shape (L,).

        Raises:
            InvalidInput: before ``bind``.
        """
        program, start = self.program, self.family(self.encode(x))
        parameters = torch.stack([start.mean, start.stddev.log()], -2)
        follow = torch.is_grad_enabled()
        with steady(program, x):
            prior = program.prior()
            refined = parameters
            for _ in range(self.steps):
                refined = refined + self.step(prior, x, refined, follow)
        loc, log_scale = refined.unbind(-2)
        return dist.Normal(loc, log_scale.exp()).to_event(1)

    def elbo(self, prior: TorchDistribution, x: Tensor, parameters: Tensor) -> Tensor:
        """The ELBO at the fixed noise, in nats: x (N, D), parameters (N, 2, L) with mu and log sigma -> (N,)."""
        loc, log_scale = parameters.unbind(-2)
        noise = self.noise.view(-1, *[1] * (loc.ndim - 1), self.latent_dim)
        log_p = log_joint(self.program, prior, x, loc + log_scale.exp() * noise).mean(0)
        return log_p + log_scale.sum(-1) + self.latent_dim * (0.5 + 0.5 * math.log(2 * math.pi))

    def step(self, prior: TorchDistribution, x: Tensor, parameters: Tensor, follow: bool) -> Tensor:
        """What is added to parameters (N, 2, L): a bounded natural gradient step, itself differentiable if told to
        ``follow``."""
        with torch.enable_grad():
            at = parameters if follow and parameters.requires_grad else parameters.detach().requires_grad_()
            # Images do not mix: the gradient of the sum over them holds each one's own.
            (gradient,) = torch.autograd.grad(self.elbo(prior, x, at).sum(), at, create_graph=follow)
        with torch.set_grad_enabled(follow):
            scale = at[..., 1, :].exp()
            natural = torch.stack([scale.square() * gradient[..., 0, :], gradient[..., 1, :] / 2], -2)
            step = self.log_step.exp() * at_least_float32(natural)
            in_scales = step / torch.stack([scale, torch.full_like(scale, math.sqrt(0.5))], -2)
            square = in_scales.square().sum((-2, -1), keepdim=True) / self.latent_dim
            return step * self.radius * square.clamp(min=self.radius**2).rsqrt()


def base_draws(num_draws: int, latent_dim: int) -> Tensor:
    """Standard normal draws e and then their negatives, (S, L), with 1/S sum_s e_s e_s^T = I where S >= 2 L, and ones
    on its diagonal where not."""
    half = torch.randn(num_draws // 2, latent_dim)
    if len(half) >= latent_dim:
        half = torch.linalg.qr(half)[0] * math.sqrt(len(half))
    else:
        half = half / half.square().mean(0).sqrt()
    return torch.cat([half, -half])
