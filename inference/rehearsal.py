"""Before training: does the pair fit together? After a non-finite loss: which site broke?"""

from __future__ import annotations

import pyro
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide
from ppl_models.program import TractableProgram

from .estimators.base import evaluation_mode
from .randomness import keyed_noise
from .weights import log_weights


class NonFiniteLossError(ArithmeticError):
    """Training was stopped by a loss that is NaN or infinite; the message names epoch, batch and site."""


def rehearse(program: nn.Module, guide: nn.Module | None, images: Tensor) -> None:
    """Score two images with Pyro's validation on, so that a pair that does not fit is refused before training.

    Raises:
        InvalidInput: for images outside the program's sample space, a program whose density is not one number per
            image, a guide with other sites, shapes or kinds of distribution than the program's latents.
    """
    images = images[:2]
    program.check(images)
    if isinstance(program, NotADensity):
        return
    name = type(program if guide is None else guide).__name__
    with keyed_noise("rehearsal", device=images.device), evaluation_mode(program, guide), pyro.validation_enabled():
        try:
            if isinstance(guide, Guide):
                check_shapes(f"guide {name}.posterior(x)", guide.posterior(images), (len(images),), (guide.latent_dim,))
            elif isinstance(program, TractableProgram):
                check_shapes(f"program {name}.distribution()", program.distribution(), (), (program.data_dim,))
            if guide is not None:
                log_weights(program, guide, images, 3)
            else:
                program(images)
        except (ValueError, RuntimeError, TypeError) as error:
            if isinstance(error, InvalidInput):
                raise
            kind = "guide" if guide is not None else "program"
            problem = f"{name} does not fit: {' '.join(str(error).split())[:200]}"
            remedy = f"try {kind}(x) on two images with pyro.validation_enabled()"
            raise InvalidInput(kind, name, problem, remedy) from error


def check_shapes(what: str, found: object, batch_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
    """What a guide's ``posterior`` or a program's ``distribution`` must be.

    Raises:
        InvalidInput: unless it is a Pyro distribution of these shapes.
    """
    if not isinstance(found, TorchDistributionMixin):
        kind = f"{type(found).__module__}.{type(found).__name__}"
        raise InvalidInput(
            what, kind, "is no Pyro distribution", "give one of pyro.distributions (torch's own are none)"
        )
    shapes = (tuple(found.batch_shape), tuple(found.event_shape))
    if shapes != (batch_shape, event_shape):
        problem = f"has batch shape {shapes[0]} and event shape {shapes[1]} on two images"
        remedy = f"give {batch_shape} and {event_shape}; .to_event(1) makes the last dimension one event"
        raise InvalidInput(what, type(found).__name__, problem, remedy)


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
