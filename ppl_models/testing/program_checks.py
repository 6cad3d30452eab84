"""What a program must be: a Pyro model over images whose parts agree with each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor, nn

from ..errors import InvalidInput
from ..guides import GuideProgram
from ..program import GenerativeProgram, HasLogProb, LatentProgram, TractableProgram
from .building import Subject
from .guide_checks import check_distribution_shapes, check_event, check_plate
from .report import Failure, Skip
from .traces import check_close, drawn, log_prob_of, score, trace_of


@dataclass
class ProgramSubject(Subject):
    """A program under test.

    Args:
        program: the program.
        guide: one that it is paired with, where its prior is made from it.
    """

    program: GenerativeProgram
    guide: GuideProgram | None = None

    def modules(self) -> tuple[nn.Module | None, ...]:
        """Program, guide."""
        return self.program, self.guide


def check_call(s: ProgramSubject) -> None:
    """Its call is a Pyro model: the latents that it declares, then site "x", observed, all in plate "image"."""
    program, _ = s.pair()
    trace = trace_of(program, s.x)
    sampled, declared = set(trace.stochastic_nodes), set(program.latents)
    if sampled != declared:
        raise Failure(
            f"it samples {sorted(sampled)} and declares latents = {tuple(program.latents)}: name every latent site in "
            "the class attribute latents, and observe x"
        )
    if trace.observation_nodes != ["x"] or not torch.equal(trace.nodes["x"]["value"], s.x):
        found = trace.observation_nodes
        raise Failure(f"given images it observes {found}: end forward with return self.observe(distribution, x, size)")
    check_plate(trace, (*program.latents, "x"), len(s.x))
    check_event("site 'x'", trace.nodes["x"]["fn"], (len(s.x),), (program.data_dim,))
    returned = trace.nodes["_RETURN"]["value"]
    if not isinstance(returned, Tensor) or not torch.equal(returned, s.x):
        raise Failure("its call does not return x: end forward with return self.observe(distribution, x, size)")


def check_generation(s: ProgramSubject) -> None:
    """Without images it generates as many as are asked for, in its sample space, each with latents of its own."""
    program, _ = s.pair()
    for size in (1, 5):
        trace = trace_of(program, size=size)
        x = trace.nodes["x"]["value"]
        if tuple(x.shape) != (size, program.data_dim) or trace.nodes["x"]["is_observed"]:
            raise Failure(
                f"program(size={size}) gives x of shape {tuple(x.shape)}, not {(size, program.data_dim)}: sample "
                "inside self.plate(x, size)"
            )
        try:
            program.check(x)
        except InvalidInput as error:
            raise Failure(
                f"it generates what it would refuse ({error}): correct its draws, levels or measure"
            ) from error
    for name in program.latents:
        value = trace.nodes[name]["value"]
        if not trace.nodes[name]["fn"].support.is_discrete and torch.equal(value[:1].expand_as(value), value):
            raise Failure(f"all images share one draw of {name!r}: sample it inside self.plate(x, size)")


def check_sample_space(s: ProgramSubject) -> None:
    """It takes its own images, and refuses what is no image of its kind."""
    program, x = s.program, s.x
    nan = x.clone()
    nan[0, 0] = torch.nan
    wrong = {"images with a pixel too many": torch.cat([x, x[:, :1]], -1), "NaN": nan, "integer tensors": x.long()}
    if program.measure == "mass":
        for name, value in (("values between the levels", 0.5), ("negative values", -1.0)):
            wrong[name] = torch.full_like(x, value)
        wrong[f"values above {program.levels - 1}"] = torch.full_like(x, program.levels)
    for name, images in wrong.items():
        try:
            program.check(images)
        except InvalidInput:
            continue
        raise Failure(f"check(x) lets {name} pass: call super().check(x), or raise InvalidInput")


def check_numbers(s: ProgramSubject) -> None:
    """log p(x, z), and log p(x) where it is exact: one finite number per image, float32 at least."""
    program, _ = s.pair()
    found = {"log p(x, z)": log_prob_of(trace_of(program, s.x))}
    if isinstance(program, HasLogProb):
        found["log_prob(x)"] = program.log_prob(s.x)
    for name, value in found.items():
        if tuple(value.shape) != (len(s.x),):
            raise Failure(f"{name} has shape {tuple(value.shape)} for {len(s.x)} images: sum over pixels (to_event(1))")
        if not value.isfinite().all():
            raise Failure(f"{name} is NaN or infinite for images that check(x) lets pass: give each a probability")
        if torch.finfo(value.dtype).bits < 32:
            raise Failure(f"{name} is {value.dtype}: sum log-probabilities in float32 (at_least_float32)")


def check_parts(s: ProgramSubject) -> None:
    """``distribution``, or ``prior`` and ``likelihood``, have the right shapes and are what the call uses."""
    program, _ = s.pair()
    if isinstance(program, TractableProgram):
        distribution = program.distribution()
        check_event("distribution()", distribution, (), (program.data_dim,))
        check_distribution_shapes(distribution, "distribution()")
        parts = distribution.log_prob(s.x)
        check_close(
            parts, program.log_prob(s.x), "log_prob(x) is not distribution().log_prob(x): let one call the other"
        )
        otherwise = "the call scores x by another density than log_prob: let forward observe distribution()"
        check_close(log_prob_of(trace_of(program, s.x)), parts, otherwise)
    elif isinstance(program, LatentProgram):
        prior = program.prior()
        check_event("prior()", prior, (), (program.latent_dim,))
        check_distribution_shapes(prior, "prior()")
        z = prior.sample((len(s.x),))
        parts = prior.log_prob(z) + program.likelihood(z).log_prob(s.x)
        otherwise = "the call scores x and z by other densities than prior() and likelihood(z): let forward use them"
        check_close(score(program, s.x, {"z": z}), parts, otherwise)
    else:
        raise Skip("it has neither distribution() nor prior() and likelihood(z): it is checked through its trace")


def check_likelihood(s: ProgramSubject) -> None:
    """likelihood(z) takes any leading dimensions of z, singleton ones too, and gives each z its own density."""
    program, _ = s.pair()
    if not isinstance(program, LatentProgram):
        raise Skip("it has no likelihood(z)")
    for leading in ((), (5,), (3, 5), (3, 1, 1), (2, 1, 5)):
        z = program.prior().sample(leading)
        likelihood = program.likelihood(z)
        check_event(f"likelihood(z) for z of shape {tuple(z.shape)}", likelihood, leading, (program.data_dim,))
        together = likelihood.log_prob(s.x[0].expand(*leading, -1))
        singly = torch.stack([program.likelihood(one).log_prob(s.x[:1])[0] for one in z.reshape(-1, 1, z.shape[-1])])
        otherwise = f"likelihood(z) depends on the leading dimensions {leading} of z: keep rows apart"
        check_close(together.flatten(), singly, otherwise)


def check_permutation(s: ProgramSubject) -> None:
    """Images in another order, and one by one, have the log-probabilities that they have together."""
    program, _ = s.pair()
    with torch.no_grad():
        values = drawn(trace_of(program, s.x))
        together = score(program, s.x, values)
        order = torch.tensor([3, 0, 4, 1, 2], device=s.x.device)
        moved = {name: value[order] for name, value in values.items()}
        otherwise = "images in another order have other log-probabilities: compute each from its image, not its place"
        check_close(score(program, s.x[order], moved), together[order], otherwise)
        for number in range(0, len(s.x), 2):
            row = slice(number, number + 1)
            alone = score(program, s.x[row], {name: value[row] for name, value in values.items()})
            otherwise = "in evaluation mode an image's log-probability depends on the rest of its batch: use no batch "
            check_close(alone, together[row], otherwise + "statistics there (nn.BatchNorm keeps running ones)")


def check_handlers(s: ProgramSubject) -> None:
    """``poutine.condition`` with ``size`` observes as the call does; without, images are not put in silently."""
    program, _ = s.pair()
    conditioned = poutine.condition(program, {"x": s.x})
    values = drawn(trace_of(program, s.x))
    log_prob = log_prob_of(trace_of(poutine.condition(conditioned, values), size=len(s.x)))
    otherwise = "poutine.condition(program, {'x': x})(size=N) scores x otherwise than program(x): observe it in forward"
    check_close(log_prob, score(program, s.x, values), otherwise)
    try:
        log_prob = log_prob_of(trace_of(conditioned))
    except (InvalidInput, ValueError, RuntimeError):
        return
    raise Failure(
        "poutine.condition(program, {'x': x})() without size scores all images with one draw of the plate: observe "
        "through self.observe(distribution, x, size), which refuses that"
    )
