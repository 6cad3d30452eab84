"""Does a guide have a density wherever the program draws its latents?"""

from __future__ import annotations

import pyro
import torch
from pyro import poutine
from torch import nn

from ppl_models.errors import InvalidInput

from ..randomness import keyed_noise
from .base import evaluation_mode

PRIOR_DRAWS = 64


def check_support(program: nn.Module, guide: nn.Module, argument: str, remedy: str) -> None:
    """Refuse a guide that leaves out values which the program gives its latents.

    Its ELBO is a bound all the same. But where the latents that made an image are scored by the guide, or a path of
    annealing starts at it, its density must be positive there: of 64 draws of the prior all must lie within.

    Args:
        program, guide: the pair, with latents.
        argument, remedy: who asks, and what to do instead: beginning and end of the message.

    Raises:
        InvalidInput: naming the site and the support.
    """
    device = next((p.device for p in program.parameters()), torch.device("cpu"))
    with evaluation_mode(program, guide), keyed_noise("support", device=device), pyro.validation_enabled(False):
        trace = poutine.trace(program).get_trace(size=PRIOR_DRAWS)
        own = poutine.trace(guide).get_trace(trace.nodes["x"]["value"][:1])
    for name in program.latents:
        fn = own.nodes[name]["fn"]
        try:
            inside = fn.support.check(trace.nodes[name]["value"])
        except NotImplementedError:  # a flow that does not say where it lives
            continue
        if not inside.all():
            kind = type(guide).__name__
            problem = f"the density of {kind} at site {name!r} is 0 where the prior's is not (support {fn.support})"
            raise InvalidInput(argument, kind, problem, remedy)
