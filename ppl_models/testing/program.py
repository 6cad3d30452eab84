"""The checks of a program."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InvalidInput
from ..program import GenerativeProgram, HasLogProb, LatentProgram, TractableProgram
from . import building
from .guide_training import silent_parameters, trainable
from .report import Failure, Report, Skip, Step, run_steps, sandbox
from .state import check_dtypes, check_same_noise, check_saved, check_store_empty
from .traces import check_close, drawn, log_prob_of, trace_of

MAX_IMAGES = 4096
TOLERANCE_OF_MASS = 1e-3
MEND = "mend it; see ppl_models/program.py for what a program must be"


@dataclass(frozen=True)
class ProgramSubject:
    """A program with images (N, D) of its sample space, and how others of its class are built."""

    program: GenerativeProgram
    x: Tensor
    options: building.Options | None
    data: Mapping[str, Any]


def check_generates(s: ProgramSubject) -> None:
    """``program(size=N)`` draws N images of its own sample space."""
    for size in (1, 4):
        x = s.program(size=size)
        if tuple(x.shape) != (size, s.program.data_dim):
            expected = (size, s.program.data_dim)
            raise Failure(
                f"program(size={size}) returns shape {tuple(x.shape)}, not {expected}: return x from observe()"
            )
        try:
            s.program.check(x)
        except InvalidInput as error:
            raise Failure(
                f"it draws images that it does not admit ({error.problem}): let likelihood and levels agree"
            ) from error


def check_sites(s: ProgramSubject) -> None:
    """It samples exactly its latents, then observes x, all in plate ``"image"``."""
    trace = trace_of(s.program, s.x)
    sampled = set(trace.stochastic_nodes)
    if sampled != set(s.program.latents):
        raise Failure(f"it samples {sorted(sampled)} and names latents {sorted(s.program.latents)}: let them agree")
    if "x" not in trace.nodes or not trace.nodes["x"]["is_observed"]:
        raise Failure("given images it observes no site 'x': end forward with self.observe(likelihood, x, size)")
    for name in ("x", *s.program.latents):
        plates = [frame.name for frame in trace.nodes[name]["cond_indep_stack"]]
        if plates != ["image"]:
            raise Failure(
                f"site {name!r} lies in plates {plates}: sample it inside self.plate(x, size) and nothing else"
            )


def check_finite(s: ProgramSubject) -> None:
    """One finite log-density per image, whatever else is in the batch."""
    values = drawn(trace_of(s.program, s.x))
    together = log_prob_of(trace_of(s.program, s.x, values=values))
    if tuple(together.shape) != (len(s.x),):
        raise Failure(
            f"log p has shape {tuple(together.shape)} on {len(s.x)} images: .to_event(1) makes pixels one event"
        )
    if not together.isfinite().all():
        raise Failure("log p is NaN or infinite at an image of its sample space: keep scales and logarithms off 0")
    alone = [
        log_prob_of(trace_of(s.program, s.x[i : i + 1], values={n: v[i : i + 1] for n, v in values.items()}))
        for i in range(len(s.x))
    ]
    check_close(
        torch.cat(alone), together, "an image's log p depends on its batch: use no batch statistics in evaluation"
    )


def check_leading(s: ProgramSubject) -> None:
    """The likelihood of a latent program takes any leading dimensions of z, singleton ones too."""
    if not isinstance(s.program, LatentProgram):
        raise Skip("it has no likelihood(z)")
    prior = s.program.prior()
    for shape in ((), (3,), (2, 3), (2, 1, 1)):
        z = prior.sample(torch.Size(shape))
        likelihood = s.program.likelihood(z)
        if (tuple(likelihood.batch_shape), tuple(likelihood.event_shape)) != (shape, (s.program.data_dim,)):
            found = f"batch {tuple(likelihood.batch_shape)}, event {tuple(likelihood.event_shape)}"
            raise Failure(
                f"likelihood(z) of z {tuple(z.shape)} has {found}: keep all leading dimensions, .to_event(1) the last"
            )
        rows = z.reshape(-1, z.shape[-1])
        one_by_one = torch.stack([s.program.likelihood(row).log_prob(s.x[0]) for row in rows]).view(shape)
        otherwise = "likelihood(z) of several z is not that of each: let no z see another"
        check_close(likelihood.log_prob(s.x[0]), one_by_one, otherwise)


def every_image(program: GenerativeProgram) -> Tensor:
    """All images of a small sample space: (levels^D, D).

    Raises:
        Skip: if there are more than 4096, or the pixels are real.
    """
    if program.measure == "density":
        raise Skip("its pixels are real numbers, which cannot be enumerated")
    if program.levels**program.data_dim > MAX_IMAGES:
        raise Skip(f"there are more than {MAX_IMAGES} images: check an instance over fewer pixels")
    return torch.tensor(list(itertools.product(range(program.levels), repeat=program.data_dim)))


def check_mass(s: ProgramSubject) -> str:
    """Probabilities of all images sum to one: p(x | z) at draws of z, p(x) where it is exact."""
    images = every_image(s.program).to(s.x)
    totals = {}
    if isinstance(s.program, HasLogProb):
        totals["p(x)"] = s.program.log_prob(images).double().exp().sum()[None]
    if isinstance(s.program, LatentProgram):
        z = s.program.prior().sample(torch.Size((3, 1)))
        totals["p(x | z)"] = s.program.likelihood(z).log_prob(images).double().exp().sum(-1)
    if not totals:
        raise Skip("it has neither log_prob(x) nor likelihood(z)")
    for name, total in totals.items():
        worst = float(total.detach()[(total.detach() - 1).abs().argmax()])
        if not abs(worst - 1) < TOLERANCE_OF_MASS:
            raise Failure(f"{name} sums to {worst:.6g} over all {len(images)} images: normalize log_prob")
    return f"{', '.join(totals)} over {len(images)} images"


def check_refuses(s: ProgramSubject) -> None:
    """Images outside the sample space are refused."""
    bad = s.x.clone()
    bad[0, 0] = float("nan") if s.program.measure == "density" else 0.5
    try:
        s.program.check(bad)
    except InvalidInput:
        return
    raise Failure("check(x) accepts NaN or pixels that are no level: leave check as GenerativeProgram has it")


def check_gradients(s: ProgramSubject) -> str | None:
    """A gradient of log p(x, z) reaches every parameter."""
    (program,) = building.copied((s.program,))
    silent = set(trainable(program))
    if not silent:
        return "it has no parameters"
    program.train()
    for attempt in range(3):
        if attempt:
            building.jitter(program)
        values = drawn(trace_of(program, s.x))
        silent &= silent_parameters(program, log_prob_of(trace_of(program, s.x, values=values)).sum())
        if not silent:
            return None
    names = ", ".join(sorted(silent)[:3])
    raise Failure(f"no gradient reaches {names}: use it in the density, or leave it out")


def check_state(s: ProgramSubject) -> None:
    """A fresh instance that loads the saved state gives the same log p."""
    (program,) = building.copied((s.program,))
    building.jitter(program)
    values = drawn(trace_of(program, s.x))
    fresh = building.fresh_program(program, s.data, s.options)
    building.check_same_state(fresh, program, s.options)
    check_saved(program, fresh)
    otherwise = (
        "a fresh instance that loads its state_dict gives another log p: keep every number it learns or draws at "
        "random in an nn.Parameter or register_buffer"
    )
    expected = log_prob_of(trace_of(program, s.x, values=values))
    check_close(log_prob_of(trace_of(fresh, s.x, values=values)), expected, otherwise)


def check_double(s: ProgramSubject) -> None:
    """It works in float64."""
    (program,) = building.copied((s.program,))
    trace = trace_of(program.double(), s.x.double())
    check_dtypes({**drawn(trace), "log p": log_prob_of(trace)})


def check_seed(s: ProgramSubject) -> None:
    """The same seed draws the same images."""
    check_same_noise(lambda: {"x": s.program(size=3)})


def check_store(s: ProgramSubject) -> None:
    """Pyro's parameter store stays empty."""
    import pyro

    s.program(s.x)
    check_store_empty(pyro.get_param_store())


def check_exact(s: ProgramSubject) -> str:
    """An exact log p(x) is the density of the program's own trace, its latents integrated by draws from the prior."""
    if not isinstance(s.program, HasLogProb):
        raise Skip("it does not declare HasLogProb")
    exact = s.program.log_prob(s.x).double()
    if isinstance(s.program, TractableProgram) or not s.program.latents:
        check_close(log_prob_of(trace_of(s.program, s.x)).double(), exact, "log_prob(x) is not the density of its call")
        return "the density of its call"
    particles = 4000
    trace = trace_of(s.program, s.x, particles=(particles,))
    log_weights = log_prob_of(trace, ["x"]).double().expand(particles, len(s.x))
    mean = log_weights.logsumexp(0) - torch.log(torch.tensor(float(particles)))
    spread = (log_weights - mean).exp().std(0) / particles**0.5
    if ((mean.exp() - exact.exp()).abs() > 6 * spread * mean.exp() + 1e-3 * exact.exp()).any():
        raise Failure(
            "log_prob(x) is not the integral of its own prior and likelihood: claim no HasLogProb, or mend it"
        )
    return f"the integral over {particles} draws from the prior"


STEPS = tuple(
    Step(name, function, MEND, needs)
    for name, function, needs in (
        ("latent sites", check_sites, ()),
        ("generation", check_generates, ()),
        ("finite numbers", check_finite, ("latent sites",)),
        ("leading dimensions", check_leading, ("latent sites",)),
        ("total mass", check_mass, ("finite numbers",)),
        ("exact log p(x)", check_exact, ("finite numbers",)),
        ("bad images", check_refuses, ()),
        ("gradients", check_gradients, ("finite numbers",)),
        ("saved state", check_state, ("finite numbers",)),
        ("float64", check_double, ("finite numbers",)),
        ("one seed, one draw", check_seed, ("generation",)),
        ("parameter store", check_store, ("latent sites",)),
    )
)


def check_program(
    program: GenerativeProgram,
    x: Tensor | None = None,
    *,
    options: building.Options | None = None,
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Report:
    """Check a program; it is not changed.

    Args:
        program: the program.
        x: images (N, D) of its sample space; its own draws unless given.
        options: what it was built with besides ``data_dim``; read off its attributes unless given.
        shape: (C, H, W), for classes that ask for it.
        seed: of all noise.

    Raises:
        ConformanceError: if a check failed, with a sentence for each.
        InvalidInput: for what is no program, or images outside its sample space.
    """
    return report_on_program(program, x, options=options, shape=shape, seed=seed).or_raise()


def report_on_program(
    program: GenerativeProgram,
    x: Tensor | None = None,
    *,
    options: building.Options | None = None,
    shape: Sequence[int] | None = None,
    seed: int = 0,
) -> Report:
    """As ``check_program``, but a report whatever it says."""
    if not isinstance(program, GenerativeProgram):
        raise InvalidInput("program", type(program).__name__, "is no program", "subclass GenerativeProgram")
    with building.lent(program), sandbox(seed):
        if x is None:
            with torch.no_grad():
                x = program(size=5)
        program.check(x)
        subject = ProgramSubject(program, x[:5].detach(), options, building.data_of(program, program, shape))
        return run_steps(STEPS, subject, type(program).__name__, seed, x.device)
