"""Importance weights of a (program, guide) pair, taken from their traces: the one place where p(x, z) / q(z | x) is
computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ppl_models.errors import InvalidInput

# What to do about a density that is no number.
REMEDY = "train again with a smaller --learning-rate, or keep the scales of guide and program within limits"
# How torch's validation of parameters and values goes on before it prints the tensor.
INVALID_VALUES = ", but found invalid values"


class NonFiniteError(ArithmeticError):
    """A log-density came out NaN or +infinity; the message names image and site."""


def log_weights(program: nn.Module, guide: nn.Module, x: Tensor, num_particles: int) -> Tensor:
    """log w_k = log p(x, z_k) - log q(z_k | x) with z_k ~ q(z | x), in nats: x (N, D) -> (K, N).

    Everything an estimator needs is in these weights: their mean over k is the ELBO, their log-mean-exp the
        importance-weighted
    bound. They are per image and free of any scale a plate may carry.

    Args:
        program: any program whose plates are ``"image"``; its latents may be many.
        guide: samples exactly the program's latents.
        x: images (N, D).
        num_particles: K >= 1.

    Raises:
        InvalidInput: if K < 1, or the guide samples other sites than the program's latents.
        NonFiniteError: if a site's log-density is NaN or +infinity.
    """
    log_p, log_q = log_densities(program, guide, x, num_particles)
    return log_p - log_q


def log_densities(program: nn.Module, guide: nn.Module, x: Tensor, num_particles: int) -> tuple[Tensor, Tensor]:
    """log p(x, z_k) and log q(z_k | x), each (K, N); see ``log_weights``."""
    model_trace, guide_trace = traces(program, guide, x, num_particles)
    shape = (num_particles, len(x))
    return sum_of_sites(model_trace, shape), sum_of_sites(guide_trace, shape)


def traces(program: nn.Module, guide: nn.Module, x: Tensor, num_particles: int) -> tuple[Trace, Trace]:
    """The program's trace replayed against the guide's, with K particles in a plate to the left of ``"image"``.

    Raises:
        InvalidInput: if K < 1, the guide samples other sites than the program's latents, or its distributions are of
            another kind than the priors'.
    """
    if num_particles < 1:
        raise InvalidInput("num_particles", num_particles, "K counts samples", "give K >= 1")
    with pyro.plate("particles", num_particles, dim=-2):
        guide_trace = prune_subsample_sites(poutine.trace(guide).get_trace(x))
        check_sites(guide_trace, program.latents, "guide")
        model_trace = poutine.trace(poutine.replay(program, guide_trace)).get_trace(x)
    model_trace = prune_subsample_sites(model_trace)
    check_sites(model_trace, program.latents, "program")
    for name in program.latents:
        check_measures(name, model_trace.nodes[name]["fn"], guide_trace.nodes[name]["fn"])
    return model_trace, guide_trace


def check_measures(name: str, prior: TorchDistribution, posterior: TorchDistribution) -> None:
    """p(z) / q(z | x) means something only if both are densities, or both probabilities, over the same values.

    A point mass (``Delta``) has log_prob 0 at its point: its "ELBO" would be log p(x, z) at one z, which is no bound.

    Raises:
        InvalidInput: for a point mass, or a discrete guide of a continuous latent (or the reverse).
    """
    kinds = {"guide": "discrete" if posterior.support.is_discrete else "continuous"}
    kinds["prior"] = "discrete" if prior.support.is_discrete else "continuous"
    base = posterior
    while "base_dist" in vars(base):
        base = base.base_dist
    if isinstance(base, dist.Delta) and not isinstance(prior, dist.Delta):
        kinds["guide"] = "a point mass"
    if kinds["guide"] != kinds["prior"]:
        problem = (
            f"is {kinds['guide']} at site {name!r} where the prior is {kinds['prior']}, so that no ELBO is a bound"
        )
        raise InvalidInput("guide", type(base).__name__, problem, f"give a {kinds['prior']} distribution")


def check_sites(trace: Trace, latents: tuple[str, ...], whose: str) -> None:
    """The sampled sites must be exactly the program's latents.

    Raises:
        InvalidInput: naming the sites that are missing or extra.
    """
    sampled = set(trace.stochastic_nodes)
    missing, extra = set(latents) - sampled, sampled - set(latents)
    if missing or extra:
        problem = f"the {whose} misses latents {sorted(missing)} and adds {sorted(extra)}"
        raise InvalidInput(whose, sorted(sampled), problem, f"sample exactly {sorted(latents)}")


def sum_of_sites(trace: Trace, shape: tuple[int, int]) -> Tensor:
    """Sum of the unscaled log-densities of all sample sites of a trace, broadcast to (K, N)."""
    total = torch.zeros(())
    for name, site in trace.nodes.items():
        if site["type"] != "sample":
            continue
        log_prob = scale_and_mask(
            site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"]), 1.0, site["mask"]
        )
        bad = torch.isnan(log_prob) | (log_prob == torch.inf)
        if bad.any():
            image = int(bad.expand(shape).any(0).nonzero()[0])
            raise NonFiniteError(f"site {name!r}: log-density is NaN or +infinity at image {image}")
        total = total.to(log_prob.device) + log_prob
    return total.expand(shape)


@contextmanager
def at_image(what: str, program: nn.Module, guide: nn.Module, image: Tensor, index: int) -> Iterator[None]:
    """Around the score of one image (1, D): what fails there is told with its site and the image's own index.

    Torch's validation stops at the first NaN with the whole tensor in its message, and names neither.

    Raises:
        NonFiniteError: for a density that is NaN or +infinity, or a value outside the support of its distribution.
    """
    try:
        yield
    except InvalidInput:
        raise
    except (ValueError, NonFiniteError) as error:
        try:
            site = first_broken_site(program, guide, image)
        except ValueError:  # of a distribution with a validation of its own
            site = ""
        if not site and isinstance(error, ValueError) and INVALID_VALUES not in str(error):
            raise  # another fault, which a smaller learning rate does not mend
        found = f"site {site!r}: log-density is NaN or +infinity" if site else short(error)
        raise NonFiniteError(f"{what}: {found} at image {index}; {REMEDY}") from error


def first_broken_site(program: nn.Module, guide: nn.Module, images: Tensor) -> str:
    """The first latent or observed site, guide before program, with a log-density of NaN or +infinity; "" if none."""
    with torch.no_grad(), pyro.validation_enabled(False):
        model_trace, guide_trace = traces(program, guide, images, 4)
        for trace in (guide_trace, model_trace):
            for name, site in trace.nodes.items():
                if site["type"] == "sample":
                    log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
                    if (log_prob.isnan() | (log_prob == torch.inf)).any():
                        return name
    return ""


def short(error: Exception) -> str:
    """The beginning of a message, without the tensors that torch appends to it."""
    return " ".join(str(error).split()).partition(INVALID_VALUES)[0][:200]
