"""The guide whose posterior cannot collapse: every latent keeps a committed rate against N(0, 1)."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import at_least_float32
from ..errors import InvalidInput
from ..program import GenerativeProgram
from .amortized import AmortizedGuide
from .base import GuideProgram

# Beyond, the smallest scale, exp(-rate - 1/2), would leave the range of every other guide.
MOST_NATS = 10.0
# Below the square root, so that its slope stays finite at the ends of the range of scales.
SMALLEST_SQUARE = 1e-12


class CommittedRate(GuideProgram):
    """A guide whose rate, KL(q(z | x) || p(z)), has a floor if p(z) = N(0, I), and which refuses any other prior."""

    def bind(self, program: GenerativeProgram) -> None:
        """Pair with a program whose prior is N(0, I) and has nothing to learn.

        Raises:
            InvalidInput: for another prior, which it names.
        """
        found = prior_if_not_standard(program)
        if found is not None:
            raise InvalidInput(
                "guide",
                type(self).__name__,
                f"commits its rate against a fixed N(0, I), and {type(program).__name__} has {found}",
                "use the standard normal prior, or a guide that commits no rate, such as DiagonalNormal",
            )
        super().bind(program)


def prior_if_not_standard(program: GenerativeProgram) -> str | None:
    """What the program has for a prior, in words; ``None`` for N(0, I) without parameters."""
    if not callable(getattr(program, "prior", None)):
        return "no prior of one latent vector"
    own = getattr(program, "latent_prior", None)
    # A prior that is made from its guide is no distribution yet, and says so; nor is it N(0, I).
    with torch.enable_grad(), contextlib.suppress(InvalidInput):
        prior = program.prior()
        if _is_standard_normal(prior):
            return None
        own = prior if own is None else own
    return f"the prior {type(own).__name__}"


def _is_standard_normal(prior: TorchDistribution) -> bool:
    while isinstance(prior, torch.distributions.Independent):
        prior = prior.base_dist
    if isinstance(prior, torch.distributions.Normal):
        loc, scale = prior.loc, prior.scale
        unit = torch.ones_like(scale)
    elif isinstance(prior, torch.distributions.MultivariateNormal):
        loc, scale = prior.loc, prior.scale_tril
        unit = torch.eye(scale.shape[-1], dtype=scale.dtype, device=scale.device)
    else:
        return False
    if loc.requires_grad or scale.requires_grad:  # it is what the rate was committed against at first, not at last
        return False
    return bool((loc == 0).all() and (scale == unit).all())


def scales_within(rate: float) -> tuple[float, float]:
    """The two s with -log s + (s^2 - 1) / 2 = rate, the smaller one first: s^2 = -W(-exp(-1 - 2 rate)), W Lambert's."""
    from scipy.special import lambertw  # here: importing scipy sets warning filters

    inner = -math.exp(-1 - 2 * rate)
    return math.sqrt(-lambertw(inner, 0).real), math.sqrt(-lambertw(inner, -1).real)


class DeltaNormal(CommittedRate, AmortizedGuide):
    """q(z | x) = N(z; mu(x), diag sigma(x)^2) with KL(N(mu_l, sigma_l^2) || N(0, 1)) >= rate for every latent l: a
    delta-VAE with independent latents (Razavi et al. 2019, 1901.03416).

    KL = -log sigma + (sigma^2 + mu^2 - 1) / 2. For a sigma between the two roots of -log s + (s^2 - 1) / 2 = rate it
    equals the rate at |mu| = mu_min(sigma) = sqrt(2 rate + 1 + 2 log sigma - sigma^2) and exceeds it beyond. From the
    encoder's outputs m and a,

        sigma = sigma_lower + (sigma_upper - sigma_lower) sigmoid(a + c),   mu = m + sign(m) mu_min(sigma),

    c such that sigma = 1 at a = 0, and sign(0) = 1. The map from m keeps the sign, so that means of both signs are
    reached, with a gap of 2 mu_min between them; the KL is rate + mu_min |m| + m^2 / 2. The shift by mu_min is the
    paper's; there it is added to a positive number. Scales outside the roots would keep the rate with any mean, and are
    excluded as in the paper: at a rate of 0.1, sigma lies in [0.70, 1.33], and what a latent tells beyond is told by
    larger means. An encoder that outputs zeros gives N(sqrt(2 rate), 1), at the rate itself.

    Args:
        data_dim, latent_dim, *shared, **options: as ``AmortizedGuide``.
        rate: the floor, nats per latent; L of it per image.

    Raises:
        InvalidInput: for a rate outside (0, 10]; in ``bind``, for a program whose prior is not N(0, I).
    """

    def __init__(self, data_dim: int, latent_dim: int, *shared: Any, rate: float = 0.1, **options: Any) -> None:
        if not 0 < rate <= MOST_NATS:
            problem = "no rate to commit, in nats per latent"
            raise InvalidInput("rate", rate, problem, f"give a number above 0, at most {MOST_NATS:g}, such as 0.1")
        super().__init__(data_dim, latent_dim, *shared, **options)
        self.rate = float(rate)
        self.lower, self.upper = scales_within(self.rate)
        self.offset = math.log((1 - self.lower) / (self.upper - 1))

    def num_parameters(self) -> int:
        """2 L: m, then a."""
        return 2 * self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """N(mu, diag sigma^2) at the rate or above: (..., 2L) -> event shape (L,)."""
        shift, raw = at_least_float32(parameters).chunk(2, -1)
        scale = self.lower + (self.upper - self.lower) * torch.sigmoid(raw + self.offset)
        least = (2 * self.rate + 1 + 2 * scale.log() - scale.square()).clamp(min=SMALLEST_SQUARE).sqrt()
        loc = shift + torch.where(shift >= 0, least, -least)
        return dist.Normal(loc, scale).to_event(1)
