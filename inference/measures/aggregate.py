"""What is measured against the aggregate posterior: information, its bracket, marginal divergences, the split ELBO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import TransformedDistribution

from ppl_models.guides import Guide
from ppl_models.program import LatentProgram

from .divergences import factors
from .draws import Draws
from .information import evenly, is_diagonal_normal, marginals, mixture

# Pairs of a draw and an image that are scored, by what a pair costs: matrix products, a formula, a flow's inverse.
PAIRS_OF_NORMALS, PAIRS, PAIRS_OF_FLOWS = 5 * 10**8, 2 * 10**7, 10**6
# Pairs times dimensions for the densities of single dimensions.
ELEMENTS_OF_MARGINALS = 2 * 10**8


@dataclass(frozen=True)
class Aggregate:
    """Terms at some draws of some of the M measured images, (S', O) each, nats, float64.

    Args:
        chosen: the images, positions 0..M-1 (O,).
        lower, upper: see ``Mixture``.
        marginal_kl: log q(z) - log p(z).
        log_likelihood, elbo: at the same draws.
        total_correlation: log q(z) - sum_l log q(z_l) at some of them, (S'', O''); ``None`` where the guide does not
            factorize.
        information_latent: log q(z_l | x) - log q(z_l): (S'', O'', L), or ``None``.
        marginal_kl_latent: log q(z_l) - log p(z_l): (S'', O'', L), or ``None`` where the prior does not factorize
            either.
        reason: why there is nothing per dimension; empty if there is.
    """

    chosen: Tensor
    lower: Tensor
    upper: Tensor
    marginal_kl: Tensor
    log_likelihood: Tensor
    elbo: Tensor
    total_correlation: Tensor | None = None
    information_latent: Tensor | None = None
    marginal_kl_latent: Tensor | None = None
    reason: str = ""

    def singles(self) -> dict[str, Tensor | None]:
        """The terms of single dimensions, as ``PerLatent`` names them."""
        return {"information": self.information_latent, "marginal_kl": self.marginal_kl_latent}


def pair_budget(guide: nn.Module, x: Tensor) -> int:
    """How many pairs of a draw and an image are affordable."""
    if not isinstance(guide, Guide):
        return PAIRS
    posterior = guide.posterior(x[:1])
    if is_diagonal_normal(posterior):
        return PAIRS_OF_NORMALS
    return PAIRS_OF_FLOWS if isinstance(posterior, TransformedDistribution) else PAIRS


def aggregate(
    program: nn.Module,
    guide: nn.Module,
    x: Tensor,
    draws: Draws,
    measured: Sequence[int],
    max_pairs: int | None,
    max_elements: int,
) -> Aggregate | str:
    """Score draws of the measured images under the posteriors of all images x (N, D).

    More images come before more draws of each: ``max_pairs`` // N of them at most, evenly spaced, and then as many of
    the S draws as it allows. All terms are of the same draws, so that the split of the ELBO adds up.

    Returns:
        the terms, or the reason why the guide has no density at another image's z.
    """
    num_draws, count = draws.elbo.shape
    budget = pair_budget(guide, x) if max_pairs is None else max_pairs
    chosen = torch.as_tensor(evenly(count, budget // len(x)), device=x.device)
    num_draws = min(num_draws, max(1, budget // (len(x) * len(chosen))))
    shape = (num_draws, len(chosen))
    latents = {name: z[:num_draws, chosen] for name, z in draws.latents.items()}
    owners = torch.as_tensor(measured, device=x.device)[chosen].expand(shape)
    flat = {name: z.flatten(0, 1) for name, z in latents.items()}
    try:
        found = mixture(guide, x, flat, owners.flatten(), max_elements)
    except NotImplementedError as error:
        return f"{type(guide).__name__} has no density at another image's z ({error})".removesuffix(" ()")
    log_prior, log_likelihood, elbo = (
        term[:num_draws, chosen] for term in (draws.log_prior, draws.log_likelihood, draws.elbo)
    )
    log_density = found.log_density.view(shape)
    singles = per_dimension(program, guide, x, latents, owners, log_density, max_elements)
    return Aggregate(
        chosen, found.lower.view(shape), found.upper.view(shape), log_density - log_prior, log_likelihood, elbo,
        **singles,
    )  # fmt: skip


def per_dimension(
    program: nn.Module,
    guide: nn.Module,
    x: Tensor,
    latents: dict[str, Tensor],
    owners: Tensor,
    log_density: Tensor,
    max_elements: int,
) -> dict[str, Tensor | str]:
    """The terms of single dimensions at as many of the draws as are affordable."""
    if not isinstance(guide, Guide):
        return {"reason": f"{len(latents)} latent sites depend on each other"}
    if factors(guide.posterior(x[:1])) is None:
        return {"reason": f"{type(guide).__name__} does not factorize over dimensions"}
    z = next(iter(latents.values()))
    num_draws, count, length = z.shape
    affordable = max(1, ELEMENTS_OF_MARGINALS // (len(x) * length))
    some = torch.as_tensor(evenly(count, affordable), device=x.device)
    num_draws = min(num_draws, max(1, affordable // len(some)))
    z, owners, log_density = z[:num_draws, some], owners[:num_draws, some], log_density[:num_draws, some]
    own, total = (t.view(z.shape) for t in marginals(guide, x, z.flatten(0, 1), owners.flatten(), max_elements))
    terms = {"total_correlation": log_density - total.sum(-1), "information_latent": own - total, "reason": ""}
    prior = factors(program.prior()) if isinstance(program, LatentProgram) else None
    if prior is not None:
        terms["marginal_kl_latent"] = total - prior.log_prob(z).double()
    return terms
