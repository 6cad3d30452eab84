"""The bridge of a program, or the reason why it has none."""

from __future__ import annotations

import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide, GuideProgram
from ppl_models.program import LatentProgram

from ..randomness import keyed_noise
from ..weights import traces
from .bridge import Bridge, VectorBridge
from .traced import TracedBridge


def make_bridge(program: nn.Module, guide: GuideProgram | None, x: Tensor) -> Bridge:
    """The path from the prior, or from a guide, to p(x, z) for images x (N, D).

    Raises:
        InvalidInput: for a program without latents (its log p(x) is ``exact``), or with discrete ones alone (they are
            summed by ``enumerate``); a guide of other sites or another measure than the prior; and as ``TracedBridge``.
    """
    check_latents(program)
    with keyed_noise("bridge", device=x.device):
        if guide is not None:
            traces(program, guide, x[:1], 1)  # refuses other sites, and point masses
        plain = isinstance(program, LatentProgram) and type(program).forward is LatentProgram.forward
        plain = plain and is_real(program.prior().support)
        if plain and guide is None:
            return VectorBridge(program, program.prior(), x)
        if plain and isinstance(guide, Guide) and type(guide).forward is Guide.forward:
            alone = (guide.posterior(x), lambda place: guide.posterior(x[place : place + 1]))
            return VectorBridge(program, program.prior(), x, alone)
        return TracedBridge(program, guide, x)


def check_latents(program: nn.Module) -> None:
    """Raise ``InvalidInput`` for a program without latents, or with one discrete vector of them."""
    kind = type(program).__name__
    if not program.latents:
        raise InvalidInput("ais", kind, "has no latents, and nothing to anneal", "use exact")
    if isinstance(program, LatentProgram) and program.prior().support.is_discrete:
        problem = "has discrete latents only, which leave nothing to move along a path"
        raise InvalidInput("ais", kind, problem, "use enumerate")


def is_real(support: constraints.Constraint) -> bool:
    """Whether a support is all vectors of real numbers."""
    while isinstance(support, torch.distributions.constraints.independent):
        support = support.base_constraint
    return support in (constraints.real, constraints.real_vector)
