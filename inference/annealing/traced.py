"""The path of any program: several latents, supports other than the real numbers, discrete latents beside continuous
ones. Densities come from Pyro traces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import scale_and_mask, sum_rightmost
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.distributions import Transform, biject_to

from ppl_models.distributions.binary_code import all_codes, free_levels
from ppl_models.errors import InvalidInput

from .bridge import Bridge, Point, gradient_of

# Values of all discrete latents together that are summed over at every step.
MAX_VALUES = 4096


@dataclass(frozen=True)
class Site:
    """A continuous latent site.

    Attributes:
        name: of the site.
        transform: from real coordinates to its support.
        shape: of one image's real coordinates; () for one number.
    """

    name: str
    transform: Transform
    shape: torch.Size

    @property
    def size(self) -> int:
        """Number of real coordinates."""
        return self.shape.numel()


class TracedBridge(Bridge):
    """log p(x, z) and the start's density by conditioning program and guide on z.

    Continuous latents are moved in real coordinates u through ``biject_to(support)``, the logarithm of its Jacobian
    added to both ends. Discrete ones are summed out of both ends, exactly, so that the path is one of densities over
    the continuous ones: log f_0 = log sum_d start(z, d) and log f_1 = log sum_d p(x, z, d).

    Args:
        program: any program whose plate is ``"image"``.
        guide: where the path starts; the prior if ``None``.
        x: images (N, D).

    Raises:
        InvalidInput: for latents outside the plate or with a support that real coordinates do not reach, no continuous
            latent, or more than 4096 values of the discrete ones.
    """

    def __init__(self, program: nn.Module, guide: nn.Module | None, x: Tensor) -> None:
        self.program, self.guide, self.x = program, guide, x
        trace = poutine.trace(program).get_trace(x[:1])
        found = {name: trace.nodes[name] for name in program.latents}
        self.moved = [continuous_site(program, site) for site in found.values() if not is_discrete(site)]
        self.values = discrete_values(program, [site for site in found.values() if is_discrete(site)], x)
        if not self.moved:
            problem = "has discrete latents only, which leave nothing to move along a path"
            raise InvalidInput("ais", type(program).__name__, problem, "use enumerate")
        self.sites = tuple(site.name for site in self.moved)
        self.length = sum(site.size for site in self.moved)
        self.multiplicity = len(next(iter(self.values.values()))) if self.values else 1

    def at(self, u: Tensor) -> Point:
        """One trace of the program, one of the guide if there is one, and two passes back."""
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            latents, log_jacobian = self.constrained(leaf)
            prior, joint = self.log_prior_and_joint(latents)
            if self.guide is not None:
                start = self.summed(self.trace_of(self.guide, latents), self.program.latents, u.shape[:2])
            else:
                start = prior
            ratio = joint - start
            start = start + log_jacobian
        start_gradient = gradient_of(start, leaf, keep=True)
        return Point(u, start.detach(), ratio.detach(), start_gradient, gradient_of(ratio, leaf))

    def constrained(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """u (K, N, L) -> latents by site (K, N, ...), and the log-Jacobian (K, N)."""
        latents, total = {}, u.new_zeros(u.shape[:2])
        for site, piece in zip(self.moved, u.split([site.size for site in self.moved], -1), strict=True):
            real = piece.reshape(*u.shape[:2], *site.shape)
            value = site.transform(real)
            jacobian = site.transform.log_abs_det_jacobian(real, value)
            latents[site.name] = value
            total = total + sum_rightmost(jacobian, jacobian.ndim - 2)
        return latents, total

    def unconstrained(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Latents by site, each (N, ...), as u: (N, L)."""
        pieces = [(site, site.transform.inv(latents[site.name])) for site in self.moved]
        return torch.cat([real.reshape(len(real), site.size) for site, real in pieces], -1)

    def draw(self, place: int, num_chains: int) -> Tensor:
        """A trace of prior or guide for one image, the discrete latents dropped: (K, L)."""
        image = self.x[place : place + 1]
        with pyro.plate("particles", num_chains, dim=-2):
            trace = poutine.trace(self.program if self.guide is None else self.guide).get_trace(image)
        return self.unconstrained({name: trace.nodes[name]["value"][:, 0] for name in self.sites})

    def trace_of(self, model: nn.Module, latents: Mapping[str, Tensor]) -> Trace:
        """The model's trace at these latents and all values of the discrete ones, S of them in a plate on the left."""
        num_chains = next(iter(latents.values())).shape[0]
        with ExitStack() as stack:
            if self.values:
                stack.enter_context(pyro.plate("values", self.multiplicity, dim=-3))
            stack.enter_context(pyro.plate("particles", num_chains, dim=-2))
            return poutine.trace(poutine.condition(model, {**latents, **self.values})).get_trace(self.x)

    def log_prior_and_joint(self, latents: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(x, z), discrete latents summed out of each: (K, N)."""
        trace = self.trace_of(self.program, latents)
        shape = next(iter(latents.values())).shape[:2]
        prior = self.summed(trace, self.program.latents, shape)
        return prior, self.summed(trace, (*self.program.latents, "x"), shape)

    def summed(self, trace: Trace, names: tuple[str, ...], shape: torch.Size) -> Tensor:
        """Sum of the sites' log-densities, log-sum-exp over the values of the discrete latents: (K, N)."""
        total = torch.zeros(())
        for name in names:
            site = trace.nodes[name]
            log_prob = scale_and_mask(site["fn"].log_prob(site["value"]), 1.0, site["mask"])
            total = total.to(log_prob) + log_prob
        if not self.values:
            return total.expand(shape)
        return total.expand(self.multiplicity, *shape).logsumexp(0)


def is_discrete(site: Mapping[str, object]) -> bool:
    """Whether a traced site has a discrete support."""
    return site["fn"].support.is_discrete


def continuous_site(program: nn.Module, site: Mapping[str, object]) -> Site:
    """How a traced latent site is moved.

    Raises:
        InvalidInput: unless it is in the image plate and its support is the image of real coordinates.
    """
    name, fn = site["name"], site["fn"]
    check_plate(program, site)
    try:
        transform = biject_to(fn.support)
    except NotImplementedError as error:
        problem = f"site {name!r} has support {fn.support}, to which real coordinates are not mapped one to one"
        raise InvalidInput("ais", type(program).__name__, problem, "give the prior a support of biject_to") from error
    return Site(name, transform, torch.Size(transform.inverse_shape(fn.event_shape)))


def check_plate(program: nn.Module, site: Mapping[str, object]) -> None:
    """Raise ``InvalidInput`` unless a latent site is drawn once for every image."""
    if not any(frame.name == "image" for frame in site["cond_indep_stack"]):
        problem = f"draws site {site['name']!r} outside the plate 'image', one for all images"
        raise InvalidInput("ais", type(program).__name__, problem, "draw it inside: weights are per image")


def discrete_values(program: nn.Module, sites: list[Mapping[str, object]], x: Tensor) -> dict[str, Tensor]:
    """All combinations of the discrete latents' values: by site (S, 1, 1, ...).

    Raises:
        InvalidInput: for more than 4096 of them, or a distribution that does not list its values.
    """
    listed = {}
    for site in sites:
        check_plate(program, site)
        listed[site["name"]] = site_values(program, site["name"], site["fn"]).to(x)
    sizes = [len(values) for values in listed.values()]
    if math.prod(sizes) > MAX_VALUES:
        problem = f"the discrete sites {', '.join(listed)} have {math.prod(sizes)} values together"
        raise InvalidInput("ais", type(program).__name__, problem, f"at most {MAX_VALUES} are summed over; use iw:5000")
    if not listed:
        return {}
    picks = torch.cartesian_prod(*(torch.arange(size) for size in sizes)).view(-1, len(sizes)).unbind(-1)
    return {
        name: values[pick].view(len(pick), 1, 1, *values.shape[1:])
        for (name, values), pick in zip(listed.items(), picks, strict=True)
    }


def site_values(program: nn.Module, name: str, fn: TorchDistribution) -> Tensor:
    """All values of one image's discrete site: (S, *event_shape).

    Raises:
        InvalidInput: if they are too many, or not listed.
    """
    levels, length = free_levels(fn.support), math.prod(fn.event_shape)
    if levels is not None and levels**length <= MAX_VALUES:
        return all_codes(length, levels)
    if levels is not None or not fn.has_enumerate_support:
        problem = f"site {name!r} is a {type(fn).__name__} whose values are too many, or not listed"
        raise InvalidInput("ais", type(program).__name__, problem, f"at most {MAX_VALUES} are summed over; use iw:5000")
    values = fn.enumerate_support(expand=False)
    return values.reshape(len(values), *fn.event_shape)
