"""Which dimensions of z move with the image: the variance of their posterior means (Burda et al. 2016, 1509.00519)."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from ppl_models.guides import Guide
from ppl_models.program import LatentProgram

from ..estimators.base import MAX_ELEMENTS, rows_within
from ..randomness import keyed_noise

# Draws of the prior for its standard deviation, and of the guide for an image's mean, where these have no formula.
PRIOR_DRAWS, DRAWS_OF_MEANS = 4096, 512


def posterior_means(guide: nn.Module, x: Tensor, max_elements: int = 8 * MAX_ELEMENTS) -> Tensor | None:
    """E_q(z | x) of one latent vector: (N, L), float64; ``None`` where the guide knows no formula for it."""
    if not isinstance(guide, Guide):
        return None
    try:
        chunks = x.split(rows_within(max_elements, x.shape[-1], guide))
        return torch.cat([guide.posterior(chunk).mean.double() for chunk in chunks])
    except NotImplementedError:
        return None


def variance_of_means(means: Tensor) -> tuple[Tensor, Tensor]:
    """Var_x[E_q(z | x)] and its standard error over images: (N, L) -> (L,), (L,).

    The error is that of a sample variance, sqrt((m_4 - v^2 (N - 3) / (N - 1)) / N).
    """
    count = len(means)
    variance = means.var(0)
    fourth = (means - means.mean(0)).pow(4).mean(0)
    error = ((fourth - variance.square() * (count - 3) / (count - 1)) / count).clamp(min=0).sqrt()
    return variance, error


def variance_of_sampled_means(
    program: nn.Module, guide: nn.Module, x: Tensor, index: Sequence[int], seed: int
) -> tuple[Tensor, Tensor]:
    """The same where E_q(z | x) has no formula, for all latent sites together: images (M, D) -> (L,), (L,).

    Means of 512 draws of the guide, with noise keyed by (seed, image index); the variance that this noise adds, 1 / 512
    of the mean variance of the draws, is taken off. An unbiased estimate may come out below 0.
    """
    means, noise = [], []
    for number in range(len(x)):
        noise_of_image = keyed_noise(seed, "means", int(index[number]), device=x.device)
        with noise_of_image, pyro.plate("particles", DRAWS_OF_MEANS, dim=-2):
            trace = poutine.trace(guide).get_trace(x[number : number + 1])
        z = torch.cat([trace.nodes[name]["value"][:, 0].double() for name in program.latents], -1)
        means.append(z.mean(0))
        noise.append(z.var(0) / len(z))
    variance, error = variance_of_means(torch.stack(means))
    return variance - torch.stack(noise).mean(0), error


def prior_scale(program: nn.Module, guide: nn.Module, x: Tensor, seed: int) -> dict[str, Tensor]:
    """The standard deviation of every dimension under p(z): site name -> (L,), float64.

    By the prior's own formula, or from 4096 draws: of a ladder's lower sites, and of mixtures and flows.
    """
    if isinstance(program, LatentProgram):
        prior = program.prior()
        try:
            return {"z": prior.variance.double().sqrt().expand(prior.event_shape)}
        except NotImplementedError:
            with keyed_noise(seed, "prior scale", device=x.device):
                return {"z": prior.sample((PRIOR_DRAWS,)).double().std(0)}
    with keyed_noise(seed, "prior scale", device=x.device), pyro.plate("particles", PRIOR_DRAWS, dim=-2):
        trace = poutine.trace(program).get_trace(x[:1])
    return {name: trace.nodes[name]["value"][:, 0].double().std(0) for name in program.latents}
