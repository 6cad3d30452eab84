"""Draws of a pair's latents for every image, with the terms of the ELBO at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..objectives.terms import log_prob
from ..randomness import keyed_noise
from ..weights import NonFiniteError, at_image, traces
from .divergences import Divergence, divergences


@dataclass(frozen=True)
class Draws:
    """z_s ~ q(z | x) of M images, S draws each, and what program and guide say of them. Nats, float64.

    Args:
        latents: site name -> (S, M, L of the site).
        log_likelihood: log p(x | z), (S, M).
        log_prior: log p(z), over all sites, (S, M).
        log_q: log q(z | x), over all sites, (S, M).
        divergences: site name -> its divergence from the prior, of all images.
    """

    latents: dict[str, Tensor]
    log_likelihood: Tensor
    log_prior: Tensor
    log_q: Tensor
    divergences: dict[str, Divergence]

    @property
    def elbo(self) -> Tensor:
        """log p(x, z) - log q(z | x): (S, M)."""
        return self.log_likelihood + self.log_prior - self.log_q


def draw(
    program: nn.Module, guide: nn.Module, x: Tensor, index: Sequence[int], seed: int, num_draws: int, progress: bool
) -> Draws:
    """S draws for each image (M, D), image by image, with noise keyed by (seed, image index).

    Raises:
        NonFiniteError: naming site and image where a log-density is NaN or infinite.
    """
    rows = []
    for number in tqdm(range(len(x)), desc="latents", disable=not progress):
        image = x[number : number + 1]
        located = at_image("collapse", program, guide, image, int(index[number]))
        with located, keyed_noise(seed, "collapse", int(index[number]), device=x.device):
            rows.append(_one(program, guide, image, num_draws, int(index[number])))
    return Draws(
        {name: torch.stack([row.latents[name] for row in rows], 1) for name in program.latents},
        *(torch.stack([getattr(row, term) for row in rows], 1) for term in ("log_likelihood", "log_prior", "log_q")),
        {name: Divergence.join([row.divergences[name] for row in rows]) for name in program.latents},
    )


def _one(program: nn.Module, guide: nn.Module, image: Tensor, num_draws: int, index: int) -> Draws:
    """The draws of one image (1, D), without the dimension of images."""
    model, own = traces(program, guide, image, num_draws)
    observed = [name for name, site in model.nodes.items() if site["type"] == "sample" and name not in program.latents]
    terms = []
    for trace, names in ((model, observed), (model, program.latents), (own, program.latents)):
        total = image.new_zeros(num_draws, dtype=torch.float64)
        for name in names:
            value = log_prob(trace.nodes[name]).expand(num_draws, 1)[:, 0].double()
            if not torch.isfinite(value).all():
                raise NonFiniteError(f"site {name!r}: log-density is NaN or infinite at image {index}")
            total = total + value
        terms.append(total)
    latents = {name: own.nodes[name]["value"].detach()[:, 0] for name in program.latents}
    return Draws(latents, *terms, divergences(program.latents, model, own, num_draws))
