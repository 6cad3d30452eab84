"""Before training: does the pair fit together? After a non-finite loss: which site broke?"""

from __future__ import annotations

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput

from .estimators.base import evaluation_mode
from .randomness import keyed_noise
from .weights import log_weights


class NonFiniteLossError(ArithmeticError):
    """Training was stopped by a loss that is NaN or infinite; the message names epoch, batch and site."""


def rehearse(program: nn.Module, guide: nn.Module | None, images: Tensor) -> None:
    """Score two images with Pyro's validation on, so that a pair that does not fit is refused before training.

    Raises:
        InvalidInput: for images outside the program's sample space, a guide with other sites or shapes than the
            program's latents.
    """
    images = images[:2]
    program.check(images)
    if guide is None:
        return
    with (
        keyed_noise("rehearsal", device=images.device),
        evaluation_mode(program, guide),
        pyro.validation_enabled(),
    ):
        try:
            shape = log_weights(program, guide, images, 3).shape
        except (ValueError, RuntimeError, TypeError) as error:
            if isinstance(error, InvalidInput):
                raise
            problem = f"does not fit {type(program).__name__}: {str(error).splitlines()[0]}"
            remedy = "posterior(x) must give a pyro.distributions object of batch shape (N,) and event shape (L,)"
            raise InvalidInput("guide", type(guide).__name__, problem, remedy) from error
        if shape != (3, len(images)):
            raise InvalidInput(
                "guide",
                type(guide).__name__,
                f"weights have shape {tuple(shape)}",
                "use to_event(1)",
            )


def locate_non_finite(program: nn.Module, guide: nn.Module | None, images: Tensor) -> str:
    """The first site, guide before program, whose value or log-density is not finite; else the first such parameter."""
    with torch.no_grad(), pyro.validation_enabled(False):
        if not isinstance(program, NotADensity):
            guide_trace = poutine.trace(guide).get_trace(images) if guide is not None else poutine.Trace()
            model_trace = poutine.trace(poutine.replay(program, guide_trace)).get_trace(images)
            for whose, trace in (("guide", guide_trace), ("program", model_trace)):
                for name, site in prune_subsample_sites(trace).nodes.items():
                    if site["type"] == "sample" and not _finite(site):
                        return f"site {name!r} of the {whose}"
        for name, parameter in program.named_parameters():
            if not torch.isfinite(parameter).all():
                return f"parameter {name!r}"
    return "no single site (the loss itself)"


def _finite(site: dict) -> bool:
    log_prob = site["fn"].log_prob(site["value"])
    return bool(torch.isfinite(site["value"]).all() and torch.isfinite(log_prob).all())
