"""log p(x) of programs with discrete latents, by summing over all of their values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.distributions.binary_code import all_codes, free_levels, is_one_hot
from ppl_models.errors import InvalidInput
from ppl_models.program import LatentProgram

from ..claims import Claim
from .base import MAX_ELEMENTS, Estimate, Estimator, positive, rows_within

MAX_STATES = 2**16
TOLERANCE = 1e-6


class Enumerated(Estimator):
    """log p(x) = log sum_z p(z) p(x | z) over all values of a discrete latent vector; claim ``NUMERICAL``, to 1e-6
    nats.

    Nothing is left out of the sum: what remains is rounding. In float32 it has no useful bound, since a narrow
    likelihood multiplies it (by 1000 where a scale is a thousandth of the pixel's range), so that a copy of the program
    in float64 is scored. The values are float64 too.

    Args:
        max_elements: bound on the elements of the largest tensor of one chunk of codes and images, see ``rows_within``.
    """

    name, claim = "enumerate", Claim.NUMERICAL
    shares_work = True

    def __init__(self, max_elements: int = 8 * MAX_ELEMENTS) -> None:
        self.max_elements = positive("max_elements", max_elements, "the bound")

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """The sum in chunks of codes, each decoded once, and images.

        Raises:
            InvalidInput: unless the program has one discrete latent vector of at most 2^16 values.
        """
        program = in_float64(program)
        codes = latent_values(program).double()
        pairs = rows_within(self.max_elements, x.shape[-1], program)
        images = x.to(codes).split(max(1, pairs // len(codes)))
        totals = [codes.new_full((len(chunk),), -torch.inf) for chunk in images]
        for part in codes.split(pairs):
            joint = JointOfCodes(program, part)
            for number, chunk in enumerate(images):
                totals[number] = torch.logaddexp(totals[number], joint.log_prob(chunk).logsumexp(0))
        return Estimate(torch.cat(totals), self.claim, tolerance=TOLERANCE)


def in_float64(program: nn.Module) -> nn.Module:
    """A copy of a program in float64.

    A prior that is made from a guide keeps it in a tuple, outside the module tree: such modules are converted as well.
    """
    copied = copy.deepcopy(program)
    own = list(copied.modules())
    kept = [held for module in own for value in vars(module).values() if isinstance(value, tuple) for held in value]
    for module in (copied, *(held for held in kept if isinstance(held, nn.Module))):
        module.double()
    return copied


class JointOfCodes:
    """log p(x, z) for given values of z, decoded once: for ``TraceEnum`` with gradients, for ``Enumerated`` without.

    Args:
        program: a ``LatentProgram``.
        codes: (S, L).
    """

    def __init__(self, program: LatentProgram, codes: Tensor) -> None:
        self.program, self.count = program, len(codes)
        self.log_prior = program.prior().log_prob(codes)
        self.likelihood = program.likelihood(codes.unsqueeze(1))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(z) + log p(x | z) in nats: x (N, D) -> (S, N).

        Raises:
            InvalidInput: if the likelihood is not one number per code and image.
        """
        log_prob = self.likelihood.log_prob(x)
        shape = (self.count, len(x))
        if log_prob.shape != shape or self.log_prior.shape != shape[:1]:
            found = f"{tuple(self.log_prior.shape)} and {tuple(log_prob.shape)}"
            problem = f"prior and likelihood score {shape[0]} codes, {shape[1]} images by {found} numbers"
            raise InvalidInput("program", type(self.program).__name__, problem, "make z and x one event: to_event(1)")
        return self.log_prior.unsqueeze(-1) + log_prob


def latent_values(
    program: nn.Module, limit: int = MAX_STATES, *, argument: str = "enumerate", instead: str = "iw:5000"
) -> Tensor:
    """All values of a program's latent vector: (S, L), in its parameters' precision.

    They are those of the prior's support: all vectors of bits or of levels, the unit vectors, or what the prior's own
    ``enumerate_support`` gives.

    Args:
        program: a ``LatentProgram``.
        limit: the most there may be.
        argument, instead: who asks, and what else to ask for: the beginning and the end of the messages.

    Raises:
        InvalidInput: unless the program has one discrete latent vector of at most ``limit`` values.
    """
    kind = type(program).__name__
    if not isinstance(program, LatentProgram):
        named = ", ".join(program.latents)
        problem = f"has latents {named}, not one vector z" if named else "has no latents"
        raise InvalidInput(argument, kind, problem, f"use {instead}" if named else "use exact")
    prior = program.prior()
    if not prior.support.is_discrete:
        problem = "has continuous latents, whose values cannot be listed (up to 2 of them: quadrature)"
        raise InvalidInput(argument, kind, problem, f"use {instead}")
    if prior.batch_shape or len(prior.event_shape) != 1:
        problem = f"has a prior of batch shape {tuple(prior.batch_shape)} and event shape {tuple(prior.event_shape)}"
        raise InvalidInput(argument, kind, problem, "give () and (L,): to_event(1) makes a vector one event")
    size, text, values = listing(prior)
    if values is None:
        problem = f"has a prior whose values cannot be listed, {type(prior).__name__}"
        raise InvalidInput(argument, kind, problem, f"give its distribution enumerate_support, or use {instead}")
    if size > limit:
        problem = f"z has {text} values, more than {limit}"
        raise InvalidInput(argument, kind, problem, f"use {instead}, or shorter codes")
    return values().to(next(program.parameters(), torch.empty(())))


def listing(prior: TorchDistribution) -> tuple[int, str, Callable[[], Tensor] | None]:
    """How many values a discrete distribution over vectors has, as a number and as text, and what lists them (S, L)."""
    length, levels = prior.event_shape[0], free_levels(prior.support)
    if levels is not None:
        return levels**length, f"{levels}^{length}", lambda: all_codes(length, levels)
    if is_one_hot(prior.support):
        return length, str(length), lambda: torch.eye(length)
    if not prior.has_enumerate_support:
        return 0, "", None
    values = prior.enumerate_support(expand=False)
    return len(values), str(len(values)), lambda: values
