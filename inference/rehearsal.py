"""Before training: does the pair fit together? After a non-finite loss: which site broke?"""

from __future__ import annotations

import copy

import pyro
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.distributions.binary_code import is_one_hot
from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide
from ppl_models.program import TractableProgram

from .estimators.base import evaluation_mode
from .randomness import keyed_noise
from .weights import log_weights, traces


class NonFiniteLossError(ArithmeticError):
    """Training was stopped by a loss that is NaN or infinite; the message names epoch, batch and site."""


def rehearse(program: nn.Module, guide: nn.Module | None, images: Tensor) -> None:
    """Score two images with Pyro's validation on, so that a pair that does not fit is refused before training.

    Raises:
        InvalidInput: for images outside the program's sample space, a program whose density is not one number per
            image or goes by the name of a mass, a guide with other sites, shapes or kinds of distribution than the
            program's latents, draws that promise a gradient and carry none, or a guide with a parameter that no
            gradient reaches or that lies in Pyro's parameter store.
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
                check_store(guide, images)
                check_values(program, guide, images)
                log_weights(program, guide, images, 3)
                check_gradients(program, guide, images)
                check_paths(guide, images)
            else:
                program(images)
            check_measure(program, images)
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


def check_measure(program: nn.Module, images: Tensor) -> None:
    """What a program says its log p(x) is measured by must be what its likelihood says: a density that goes by the name
    of a mass would be compared with probabilities.

    Raises:
        InvalidInput: otherwise.
    """
    likelihood = poutine.trace(program).get_trace(images).nodes["x"]["fn"]
    try:
        measure = "mass" if likelihood.support.is_discrete else "density"
    except NotImplementedError:  # a distribution of the user's that does not say
        return
    if program.measure != measure:
        kind = type(program).__name__
        problem = f"calls its log p(x) a {program.measure}, and its likelihood has a {measure} ({likelihood.support})"
        raise InvalidInput("program", kind, problem, f'set measure = "{measure}" on the class')


def check_store(guide: nn.Module, images: Tensor) -> None:
    """A guide keeps its parameters on itself: what it puts into Pyro's parameter store no optimizer here ever moves.

    Raises:
        InvalidInput: naming those parameters.
    """
    own, traced = {id(p) for p in guide.parameters()}, poutine.trace(guide).get_trace(images)
    values = {name: traced.nodes[name]["value"] for name in traced.param_nodes}
    stored = [name for name, value in values.items() if id(value.unconstrained()) not in own]
    if stored:
        for name in stored:  # nothing stays behind that a mended guide would find
            del pyro.get_param_store()[name]
        problem = f"keeps its parameters {', '.join(sorted(stored)[:5])} in Pyro's parameter store, untrained"
        remedy = "make them nn.Parameter on self, instead of pyro.param or pyro.module"
        raise InvalidInput("guide", type(guide).__name__, problem, remedy)


def check_values(program: nn.Module, guide: nn.Module, images: Tensor) -> None:
    """Discrete latents and their guide must take the same values: a draw may fit by chance, and no score would say so.

    Raises:
        InvalidInput: for unit vectors where the prior is over all codes, or the reverse.
    """
    with pyro.validation_enabled(False):  # a value that the prior does not have is what is looked for
        trace = prune_subsample_sites(poutine.trace(guide).get_trace(images))
        model = poutine.trace(poutine.replay(program, trace)).get_trace(images)
    for site in (name for name in program.latents if name in trace.nodes and name in model.nodes):
        posterior, prior = trace.nodes[site]["fn"], model.nodes[site]["fn"]
        own, theirs = ("unit vectors" if is_one_hot(fn.support) else "codes" for fn in (posterior, prior))
        if own != theirs and posterior.support.is_discrete and prior.support.is_discrete:
            problem = f"draws {own} at site {site!r}, and the prior is over {theirs}"
            remedy = f"use {'OneHotCategorical' if theirs == 'unit vectors' else 'IndependentBernoulli'}"
            raise InvalidInput("guide", type(guide).__name__, problem, remedy)


def check_gradients(program: nn.Module, guide: nn.Module, images: Tensor) -> None:
    """Every parameter of the guide that asks for a gradient must have one, through its draws or their density.

    Raises:
        InvalidInput: naming those that have none: they would stay where they are, without a word.
    """
    silent = unreached(program, guide, images)
    if silent:  # unless they belong to what runs in training only: tried on copies, since statistics may move there
        try:
            pair = copy.deepcopy((program, guide))
        except Exception:  # noqa: BLE001  a user's module may refuse to be copied with any error
            pair = None
        if pair is not None:
            silent &= unreached(*(module.train() for module in pair), images)
    if silent:
        problem = f"no gradient reaches its parameters {', '.join(sorted(silent)[:5])}"
        remedy = "use them in posterior(x) without detach, .data or no_grad, or freeze them by requires_grad_(False)"
        raise InvalidInput("guide", type(guide).__name__, problem, remedy)


def unreached(program: nn.Module, guide: nn.Module, images: Tensor) -> set[str]:
    """Names of the guide's trainable parameters that neither log p(x, z) - log q(z | x) nor log q(z | x) hangs on."""
    own = {name: p for name, p in guide.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        total = sum(trace.log_prob_sum() for trace in traces(program, guide, images, 2))
        return own.keys() - reached(total, own)


def check_paths(guide: nn.Module, images: Tensor) -> None:
    """Draws of a distribution with ``has_rsample`` must hang on every parameter that its density hangs on.

    Objectives believe ``has_rsample`` and leave the score function out: a detached draw would train the guide by what
    is left, d log q at a fixed z, whose mean is zero.

    Raises:
        InvalidInput: naming the site and the parameters.
    """
    own = {name: p for name, p in guide.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        trace = prune_subsample_sites(poutine.trace(guide).get_trace(images))
        for site in (name for name in trace.stochastic_nodes if trace.nodes[name]["fn"].has_rsample):
            posterior, value = trace.nodes[site]["fn"], trace.nodes[site]["value"]
            try:
                log_q = posterior.log_prob(value.detach())
            except (KeyError, NotImplementedError):  # a flow without an inverse scores its own draws alone
                continue
            detached = reached(log_q, own) - reached(value, own)
            if detached:
                problem = (
                    f"the draws of site {site!r} carry no gradient to {', '.join(sorted(detached)[:5])}, though "
                    "has_rsample says that they do"
                )
                remedy = "make rsample a differentiable function of noise, or set has_rsample = False"
                raise InvalidInput("guide", type(guide).__name__, problem, remedy)


def reached(result: Tensor, own: dict[str, nn.Parameter]) -> set[str]:
    """Names of the parameters that a tensor hangs on."""
    if not own or not result.requires_grad:
        return set()
    found = torch.autograd.grad(result.sum(), list(own.values()), allow_unused=True, retain_graph=True)
    return {name for name, gradient in zip(own, found, strict=True) if gradient is not None}


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
