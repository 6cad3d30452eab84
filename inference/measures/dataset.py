"""The measures of a pair as the data set that ``collapse.nc`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..claims import Claim
from .aggregate import Aggregate
from .draws import Draws
from .table import Measure


@dataclass(frozen=True)
class PerLatent:
    """What is known of every dimension of z, all sites together: L in all.

    Args:
        sites: of each dimension, its site and its place in it.
        variance, variance_stderr: Var_x[E_q(z_l | x)] and its standard error over images, (L,).
        scale: standard deviation under p(z), (L,).
        active: variance at the threshold or above, (L,).
        active_scaled: the same with the threshold on the scale of the prior.
        kl: KL(q(z_l | x) || p(z_l)) per image, (M, L); NaN where guide or prior does not factorize.
        claim: ``EXACT`` where posterior means have a formula, else ``ESTIMATE``.
        information, marginal_kl: of each dimension at the draws of the aggregate, (S'', O'', L), or ``None``.
    """

    sites: list[tuple[str, int]]
    variance: Tensor
    variance_stderr: Tensor
    scale: Tensor
    active: Tensor
    active_scaled: Tensor
    kl: Tensor
    claim: Claim
    information: Tensor | None = None
    marginal_kl: Tensor | None = None


def as_dataset(
    index: Sequence[int],
    draws: Draws,
    found: Aggregate | str,
    latents: PerLatent,
    shuffled: Tensor,
    prior: Tensor,
    decoded: tuple[Tensor, Tensor, str],
    measures: Sequence[Measure],
) -> xr.Dataset:
    """Dims ``measure``, ``image`` and ``latent``, see ``docs/files.md``."""
    columns = {field.name: ("measure", [getattr(m, field.name) for m in measures]) for field in fields(Measure)}
    coords = {"measure": columns.pop("name")[1], "image": list(index)}
    columns["claim"] = ("measure", [measure.claim.value for measure in measures])
    coords |= {name: columns.pop(name) for name in ("claim", "meaning", "reason", "units")}
    coords["latent"] = [f"{site}[{place}]" for site, place in latents.sites]
    coords["site"] = ("latent", [site for site, _ in latents.sites])
    rate = sum(divergence.values for divergence in draws.divergences.values())
    per_image = {
        "rate": rate.mean(0),
        "log_likelihood": draws.log_likelihood.mean(0),
        "elbo": draws.elbo.mean(0),
        "log_likelihood_shuffled": shuffled.mean(0),
        "log_likelihood_prior": prior.mean(0),
        "accuracy": decoded[0],
        "reconstruction_error": decoded[1],
        "information_lower": spread(rate, found, "lower"),
        "information_upper": spread(rate, found, "upper"),
        "marginal_kl": spread(rate, found, "marginal_kl"),
    }
    columns |= {name: ("image", array(values)) for name, values in per_image.items()}
    columns |= {name: ("latent", values) for name, values in of_latents(latents).items()}
    columns["kl"] = (("image", "latent"), array(latents.kl))
    return xr.Dataset(columns, coords)


def of_latents(latents: PerLatent) -> dict[str, np.ndarray]:
    """The variables over dimension ``latent``."""
    missing = torch.full_like(latents.variance, torch.nan)
    columns = {
        "mean_variance": latents.variance,
        "mean_variance_stderr": latents.variance_stderr,
        "prior_scale": latents.scale,
        "active": latents.active.long(),
        "active_scaled": latents.active_scaled.long(),
    }
    for name, terms in (("information_latent", latents.information), ("marginal_kl_latent", latents.marginal_kl)):
        each = None if terms is None else terms.mean(0)
        columns[name] = missing if each is None else each.mean(0)
        columns[f"{name}_stderr"] = missing if each is None or len(each) < 2 else each.std(0) / len(each) ** 0.5
    return {name: array(values) for name, values in columns.items()}


def spread(like: Tensor, found: Aggregate | str, name: str) -> Tensor:
    """Means over the draws of the images that were compared with all others; NaN for the rest: (M,)."""
    values = like.new_full(like.shape[1:], torch.nan)
    if not isinstance(found, str):
        values[found.chosen] = getattr(found, name).mean(0)
    return values


def array(values: Tensor) -> np.ndarray:
    """On the CPU, as numpy."""
    return values.detach().cpu().numpy()
