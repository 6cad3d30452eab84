"""Pairs whose information, rates and variances have closed forms."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from ppl_models.guides import Guide
from ppl_models.programs import LinearVAE


class GaussianChannel(Guide):
    """q(z | x) = N(a x_l, s^2) for the first L pixels; over x ~ N(0, I), z ~ N(0, a^2 + s^2)."""

    def __init__(self, gains: list[float], scale: float = 1.0) -> None:
        super().__init__(len(gains) + 1, len(gains))
        self.gains, self.scale = torch.tensor(gains), scale

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(x[..., : len(self.gains)] * self.gains.to(x), self.scale).to_event(1)

    def information(self) -> float:
        """1/2 sum_l log(1 + a_l^2 / s^2)."""
        return sum(0.5 * math.log1p(float(gain) ** 2 / self.scale**2) for gain in self.gains)


class WithoutMean(GaussianChannel):
    """The same with a density that knows neither its mean nor its divergence from another."""

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        identity = dist.transforms.AffineTransform(0.0, 1.0, event_dim=1)
        return dist.TransformedDistribution(super().posterior(x), [identity])


def channel(information: float, latents: int = 1) -> GaussianChannel:
    """A channel of so many nats, shared equally by its latents, with q(z) = N(0, I)."""
    snr = math.expm1(2 * information / latents)
    scale = 1 / math.sqrt(1 + snr)
    return GaussianChannel([scale * math.sqrt(snr)] * latents, scale)


def linear_program(guide: Guide) -> LinearVAE:
    """Any program over real numbers with N(0, I) as prior."""
    program = LinearVAE(guide.data_dim, guide.latent_dim, levels=0)
    guide.bind(program)
    return program
