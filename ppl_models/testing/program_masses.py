"""Whether a program's probabilities are ones: sums over all images, draws against densities, bounds and log p(x)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..distributions.binary_code import all_codes
from ..program import GenerativeProgram, HasLogProb, LatentProgram, TractableProgram
from . import building
from .coordinates import MAX_STATES, Site
from .fit import TOLERANCE_OF_SUM, check_fit
from .program_checks import ProgramSubject
from .quadrature import check_marginals
from .report import Failure, Skip
from .sampler import Sampler, of_distribution
from .traces import drawn, score, site_log_prob, trace_of

# Images small enough to be listed, largest first.
SMALL_SHAPES = ((1, 3, 4), (1, 3, 3), (1, 2, 3), (1, 2, 2), (1, 1, 2), (1, 1, 1))
# Draws of the prior that average to p(x); standard errors that they may be off, and beyond which they say nothing.
DRAWS, WIDTH, ROUNDING, LARGEST_ERROR = 4000, 6.0, 1e-3, 0.1


def listable(program: GenerativeProgram) -> bool:
    """Whether all images can be listed."""
    if program.measure != "mass" or program.levels < 2:
        return False
    return program.data_dim * math.log(program.levels) <= math.log(MAX_STATES) + 1e-9


def small(s: ProgramSubject) -> GenerativeProgram:
    """The program, if its images can be listed; else a smaller one of its class.

    Raises:
        Skip: if there is none.
    """
    program, guide = s.pair()
    if program.measure != "mass":
        raise Skip("its images are real-valued: its density is checked by its draws")
    if listable(program):
        return program
    for shape in SMALL_SHAPES:
        if math.prod(shape) * math.log(program.levels) <= math.log(MAX_STATES) + 1e-9:
            data = {**s.data, "data_dim": math.prod(shape), "shape": shape}
            break
    else:
        raise Skip(f"a pixel has {program.levels} levels, more than {MAX_STATES}")
    try:
        fresh = building.fresh_program(program, data, s.options)
        fresh(size=1)
    except Exception as error:
        problem = f"its {program.levels}^{program.data_dim} images cannot be listed, and with {math.prod(shape)} pixels"
        raise Skip(f"{problem} it fails: {type(error).__name__}: {error}") from error
    if guide is not None:
        raise Skip("its prior is made from a guide, and its images cannot be listed: check a smaller one")
    return fresh


@torch.no_grad()
def check_sum(s: ProgramSubject) -> str:
    """p(x), or p(x | z), sums to 1 over all images."""
    program = small(s)
    images = all_codes(program.data_dim, program.levels).to(s.x)
    if isinstance(program, HasLogProb):
        what, log_probs = "p(x)", program.log_prob(images).unsqueeze(-1)
    else:
        latents = drawn(trace_of(program, s.x[:3, : program.data_dim]))
        what, log_probs = "p(x | z)", torch.stack([_given(program, latents, row, images) for row in range(3)], -1)
    totals = log_probs.double().logsumexp(0).exp()
    worst = float(totals[(totals - 1).abs().argmax()])
    if not abs(worst - 1) < TOLERANCE_OF_SUM:
        raise Failure(
            f"{what} sums to {worst:.6g} over all {len(images)} images of {program.data_dim} pixels: let no "
            "conditional see its own pixel or later ones, and normalize each"
        )
    return f"{worst:.6f} over {len(images)} images"


def _given(program: GenerativeProgram, latents: dict[str, Tensor], row: int, images: Tensor) -> Tensor:
    """log p(x | z) of all images (S, D), z being one row of the latents: (S,)."""
    same = {name: value[row].expand(len(images), *value.shape[1:]) for name, value in latents.items()}
    return site_log_prob(trace_of(program, images, values=same), "x")


@torch.no_grad()
def check_draws(s: ProgramSubject) -> str:
    """Generated images fit log_prob; draws of the prior and of the likelihood fit theirs."""
    program = s.pair()[0]
    if isinstance(program, HasLogProb):
        try:
            program = small(s)
        except Skip:
            program = s.pair()[0]
        return check_fit(of_program(program), 10_000)
    remarks = []
    for name, check, sampler in _parts(program):
        try:
            remarks.append(f"{name}: {check(sampler)}")
        except Skip as skip:
            if check is check_fit:
                remarks.append(f"{name}: not tested, {skip}")
    return "; ".join(remarks)


def _parts(program: GenerativeProgram) -> list[tuple[str, Callable[[Sampler], str], Sampler]]:
    """What is drawn in turn, with the tests that it takes: the latents, and the images of three values of them."""
    if isinstance(program, LatentProgram):
        prior = of_distribution(program.prior(), "z")
        likelihood = of_distribution(program.likelihood(program.prior().sample((3,))), "x")
        return [("prior", check_fit, prior), ("prior", check_marginals, prior), ("x", check_fit, likelihood)]
    return [("latents", check_fit, _latents_of(program))]


def _latents_of(program: GenerativeProgram) -> Sampler:
    """All latents together, as the call draws them for one image."""
    first = trace_of(program, size=1)

    def draw(number: int) -> dict[str, Tensor]:
        trace = trace_of(program, size=number)
        return {name: trace.nodes[name]["value"].unsqueeze(1) for name in program.latents}

    def claimed(values: Mapping[str, Tensor]) -> Tensor:
        x = first.nodes["x"]["value"].expand(len(next(iter(values.values()))), -1)
        return score(program, x, {name: value.squeeze(1) for name, value in values.items()}, program.latents)[:, None]

    return Sampler([Site.of(name, first.nodes[name]["fn"]) for name in program.latents], draw, claimed)


def of_program(program: GenerativeProgram) -> Sampler:
    """x as the program generates it, against its log p(x)."""
    site = Site.of("x", trace_of(program, size=1).nodes["x"]["fn"])

    def draw(number: int) -> dict[str, Tensor]:
        return {"x": program(size=number).unsqueeze(1)}

    return Sampler([site], draw, lambda values: program.log_prob(values["x"].flatten(0, 1)).view(-1, 1))


@torch.no_grad()
def check_evidence(s: ProgramSubject) -> str:
    """An exact log p(x) of a program with latents is the mean of p(x | z) over draws of the prior.

    Where few draws carry that mean, it is known to be a lower bound all the same: log p(x) is then not below it.
    """
    program, _ = s.pair()
    if not isinstance(program, HasLogProb) or isinstance(program, TractableProgram) or not program.latents:
        raise Skip("it has no exact log p(x) beside its latents")
    ratios = (_log_likelihoods(program, s.x) - program.log_prob(s.x).double()).exp()
    mean, error = ratios.mean(0), ratios.std(0) / len(ratios) ** 0.5
    below = mean > 1 + WIDTH * error + ROUNDING
    above = (mean < 1 - WIDTH * error - ROUNDING) & (error < LARGEST_ERROR)
    if (below | above).any():
        worst = int((below | above).nonzero()[0])
        raise Failure(
            f"the mean of p(x | z) over {DRAWS} draws of the prior is {float(mean[worst]):.4g} times exp(log_prob(x)) "
            f"(standard error {float(error[worst]):.1g}): compare log_prob with the integral of likelihood times prior"
        )
    return f"p(x | z) averages over the prior to {float(mean.mean()):.3f} times p(x)"


def _log_likelihoods(program: GenerativeProgram, x: Tensor) -> Tensor:
    """log p(x | z_k) with z_k from the prior: (K, N), float64."""
    trace = trace_of(program, x, particles=(DRAWS,))
    node = trace.nodes["x"]
    return node["fn"].log_prob(node["value"]).double().expand(DRAWS, len(x))
