"""All measures of posterior collapse of one pair on one set of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import xarray as xr
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput

from ..claims import Claim
from ..estimators.base import MAX_ELEMENTS, evaluation_mode
from .activity import posterior_means, prior_scale, variance_of_means, variance_of_sampled_means
from .aggregate import Aggregate, aggregate
from .dataset import PerLatent, as_dataset
from .draws import Draws, draw
from .information import evenly
from .measures import all_measures
from .sensitivity import from_prior, reconstruction, shuffled

# Var_x[E_q(z | x)] from which a dimension counts as active (Burda et al. 2016), for a prior of variance 1.
THRESHOLD = 0.01
# Images that are measured one by one; the aggregate posterior is that of all.
MAX_IMAGES = 10_000


@torch.no_grad()
def measure_collapse(
    program: nn.Module,
    guide: nn.Module | None,
    x: Tensor,
    index: Sequence[int] | None = None,
    *,
    seed: int = 0,
    num_draws: int = 16,
    threshold: float = THRESHOLD,
    max_images: int = MAX_IMAGES,
    max_pairs: int | None = None,
    max_elements: int = 8 * MAX_ELEMENTS,
    progress: bool = False,
) -> xr.Dataset:
    """How much of the images x (N, D) the latents carry: what ``collapse.nc`` holds (``docs/files.md``).

    With q(z) = 1/N sum_j q(z | x_j) over all N images, per image and in nats:

        rate  R = KL(q(z | x) || p(z)),   distortion  D = -E_q[log p(x | z)],   ELBO = -D - R   (Alemi et al. 2018,
            1711.00464)
        E[R] = I_q(x; z) + KL(q(z) || p(z))   (Hoffman & Johnson 2016)
        KL(q(z) || p(z)) = KL(q(z) || prod_l q(z_l)) + sum_l KL(q(z_l) || p(z_l))   (Chen et al. 2018, 1802.04942)

    and per dimension Var_x[E_q(z_l | x)], which makes it active or dead (Burda et al. 2016, 1509.00519). Every number
    has its claim and its errors; one that a pair does not admit is NaN with the reason. Nothing depends on how images
    are batched. Noise is keyed by (seed, image index).

    Args:
        program, guide: a pair with one latent vector or several.
        x: images (N, D).
        index: each image's index in its split; 0..N-1 unless given.
        seed: of the noise.
        num_draws: S, draws of z per image.
        threshold: variance from which a dimension is active.
        max_images: most images, evenly spaced, that are measured one by one. The aggregate posterior, and the variance
            of posterior means where they have a formula, are of all N.
        max_pairs: most pairs of a draw and an image that are scored for the information; by default as many as the
            guide's family makes affordable, see ``aggregate``.
        max_elements: bound on the elements of the largest tensor of a chunk; it does not change the result.
        progress: show bars.

    Raises:
        InvalidInput: for a pair without latents or without a guide, images outside the sample space or fewer than 2, or
            counts below 1.
        NonFiniteError: naming site and image where a log-density is NaN or infinite.
    """
    check_latents(program, guide)
    program.check(x)
    if len(x) < 2:
        raise InvalidInput("x", tuple(x.shape), "information needs other images", "give at least 2")
    for name, value in (("num_draws", num_draws), ("max_images", max_images)):
        if value < 1:
            raise InvalidInput(name, value, "is a count", "give at least 1")
    index = list(range(len(x)) if index is None else index)
    if len(index) != len(x):
        raise InvalidInput("index", f"{len(index)} entries", f"there are {len(x)} images", "give one per image")
    measured = evenly(len(x), max_images)
    images, numbers = x[torch.as_tensor(measured, device=x.device)], [int(index[number]) for number in measured]
    with evaluation_mode(program, guide):
        draws = draw(program, guide, images, numbers, seed, num_draws, progress)
        found = aggregate(program, guide, x, draws, measured, max_pairs, max_elements)
        latents = per_latent(program, guide, x, images, numbers, draws, found, seed, threshold, max_elements)
        others = shuffled(program, images, draws.latents, seed)
        prior = from_prior(program, images, numbers, seed, num_draws)
        decoded = reconstruction(program, images, numbers, draws.latents, seed)
    measures = all_measures(draws, found, latents, others, prior, decoded, len(x), threshold)
    attrs = {"num_draws": num_draws, "num_images": len(x), "threshold": threshold, "collapse_seed": seed}
    attrs["kl_reason"] = "; ".join(filter(None, (divergence.reason for divergence in draws.divergences.values())))
    return as_dataset(numbers, draws, found, latents, others, prior, decoded, measures).assign_attrs(attrs)


def check_latents(program: nn.Module, guide: nn.Module | None) -> None:
    """Raise ``InvalidInput`` unless there are latents that could collapse, and a guide for them."""
    name = type(program).__name__
    if isinstance(program, NotADensity):
        remedy = "leave --collapse out, or name a run with latents, such as one of recipe vae"
        raise InvalidInput("--collapse", name, "its codes have no distribution that could collapse", remedy)
    if not program.latents:
        problem = "the program has no latents, so that nothing can collapse"
        remedy = "leave --collapse out, or name a run with latents, such as one of recipe vae"
        raise InvalidInput("--collapse", name, problem, remedy)
    if guide is None:
        raise InvalidInput("--collapse", name, "there is no guide", "give the q(z | x) that was trained with it")


def per_latent(
    program: nn.Module,
    guide: nn.Module,
    x: Tensor,
    images: Tensor,
    numbers: Sequence[int],
    draws: Draws,
    found: Aggregate | str,
    seed: int,
    threshold: float,
    max_elements: int,
) -> PerLatent:
    """What is known of every dimension of every latent site, in the order of the sites.

    Posterior means are of all images x (N, D) where they have a formula, else of the measured ``images``, whose indices
    in the split are ``numbers``.
    """
    means = posterior_means(guide, x, max_elements)
    if means is not None:
        variance, error = variance_of_means(means)
    else:
        variance, error = variance_of_sampled_means(program, guide, images, numbers, seed)
    scale = torch.cat([values.to(variance) for values in prior_scale(program, guide, x, seed).values()])
    sites = [(name, number) for name, z in draws.latents.items() for number in range(z.shape[-1])]
    kl = torch.cat(
        [
            variance.new_full(draws.latents[name].shape[1:], math.nan) if d.per_dimension is None else d.per_dimension
            for name, d in draws.divergences.items()
        ],
        -1,
    )
    claim = Claim.ESTIMATE if means is None else Claim.EXACT
    single = {} if isinstance(found, str) else found.singles()
    active, scaled = variance >= threshold, variance >= threshold * scale**2
    return PerLatent(sites, variance, error, scale, active, scaled, kl, claim, **single)
