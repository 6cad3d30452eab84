"""What the decoder loses when z is not the image's own, and what it reconstructs when it is."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn
from torch.distributions import Independent

from ppl_models.distributions import Autoregressive

from ..estimators.base import MAX_ELEMENTS, rows_within
from ..objectives.terms import log_prob
from ..randomness import keyed_noise

# From here on no further chunk of images is decoded pixel by pixel, which costs a pass of the decoder for each pixel.
MAX_DECODED = 200


def shuffled(
    program: nn.Module, x: Tensor, latents: dict[str, Tensor], seed: int, max_elements: int = MAX_ELEMENTS
) -> Tensor:
    """log p(x_n | z of another image), nats: images (M, D), draws site -> (S, M, L) -> (S, M), float64.

    Every image gets all draws of one other image: a random cycle through all of them, so that no image keeps its own.
    """
    partner = cycle(len(x), seed).to(x.device)
    rows = max(1, rows_within(max_elements, x.shape[-1], program) // len(next(iter(latents.values()))))
    parts = []
    for start in range(0, len(x), rows):
        chosen = partner[start : start + rows]
        images = x[start : start + rows]
        parts.append(log_likelihood(program, images, {name: z[:, chosen] for name, z in latents.items()}))
    return torch.cat(parts, 1)


def cycle(count: int, seed: int) -> Tensor:
    """A permutation of 0..count-1 that is one cycle: (count,)."""
    with keyed_noise(seed, "shuffle"):
        order = torch.randperm(count)
    partner = torch.empty(count, dtype=torch.int64)
    partner[order] = order.roll(-1)
    return partner


def from_prior(program: nn.Module, x: Tensor, index: Sequence[int], seed: int, num_draws: int) -> Tensor:
    """log p(x_n | z) with z ~ p(z), nats: (M, D) -> (S, M), float64, noise keyed by (seed, image index)."""
    parts = []
    for number in range(len(x)):
        with keyed_noise(seed, "prior", int(index[number]), device=x.device):
            with pyro.plate("particles", num_draws, dim=-2):
                trace = prune_subsample_sites(poutine.trace(program).get_trace(x[number : number + 1]))
            parts.append(observed(program, trace, num_draws, 1))
    return torch.cat(parts, 1)


def log_likelihood(program: nn.Module, x: Tensor, latents: dict[str, Tensor]) -> Tensor:
    """log p(x | z) at given latents, nats: images (n, D), site -> (S, n, L) -> (S, n), float64."""
    return observed(program, conditioned(program, x, latents), len(next(iter(latents.values()))), len(x))


def conditioned(program: nn.Module, x: Tensor, latents: dict[str, Tensor]) -> Trace:
    """The program's trace with the latents put in."""
    with pyro.plate("particles", len(next(iter(latents.values()))), dim=-2):
        trace = poutine.trace(poutine.condition(program, data=latents)).get_trace(x)
    return prune_subsample_sites(trace)


def observed(program: nn.Module, trace: Trace, num_draws: int, count: int) -> Tensor:
    """Sum of the log-densities of all sites but the latents: (S, n), float64."""
    sites = [site for name, site in trace.nodes.items() if site["type"] == "sample" and name not in program.latents]
    return sum(log_prob(site).double() for site in sites).expand(num_draws, count)


def reconstruction(
    program: nn.Module, x: Tensor, index: Sequence[int], latents: dict[str, Tensor], seed: int
) -> tuple[Tensor, Tensor, str]:
    """How well x comes back from its own z, at the first draw of each image.

    Returns:
        accuracy: (M,), the share of pixels in which an image drawn from p(x | z) equals x: its expectation where pixels
            are independent given z, one draw where they are autoregressive; NaN for others.
        error: (M,), root mean square over pixels of x - E[x | z], in grey levels; NaN without a formula for the mean.
        reason: why there is no accuracy, or for which images; empty for all.
    """
    error = x.new_full((len(x),), math.nan, dtype=torch.float64)
    accuracy, reason = error.clone(), ""
    rows = rows_within(MAX_ELEMENTS, x.shape[-1], program)
    for start in range(0, len(x), rows):
        part = slice(start, min(start + rows, len(x)))
        fn = conditioned(program, x[part], {name: z[:1, part] for name, z in latents.items()}).nodes["x"]["fn"]
        fn = fn.expand(torch.Size([1, part.stop - start]))
        with contextlib.suppress(NotImplementedError):  # a distribution without a formula for its mean
            error[part] = (x[part] - fn.mean[0]).double().square().mean(-1).sqrt()
        if program.measure == "density":
            reason = "pixels are real numbers, which no draw repeats"
        elif isinstance(fn, Independent):
            accuracy[part] = fn.base_dist.log_prob(x[part])[0].double().exp().mean(-1)
        elif not isinstance(fn, Autoregressive):
            reason = f"pixels of a {type(fn).__name__} are neither independent given z nor autoregressive"
        elif start < MAX_DECODED:
            accuracy[part] = _agreement(fn, x[part], index[part], seed)
        else:
            reason = f"of the first {start} images, since each is decoded pixel by pixel"
    return accuracy, error, reason


def _agreement(likelihood: Autoregressive, x: Tensor, index: Sequence[int], seed: int) -> Tensor:
    """Share of pixels in which one draw of each image equals it, noise keyed by (seed, image index): (n,)."""
    noise = []
    for number in index:
        with keyed_noise(seed, "decode", int(number), device=x.device):
            noise.append(torch.rand(x.shape[-1], device=x.device))
    drawn = likelihood.sample(noise=torch.stack(noise)[None])[0]
    return (drawn == x).double().mean(-1)
