"""What a guide must be: its sites, shapes and support, and that images do not disturb each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.trace_struct import Trace
from torch import nn

from ..errors import InvalidInput
from ..guides import Guide, GuideProgram
from ..program import GenerativeProgram
from .building import Subject
from .fit import check_fit
from .quadrature import check_marginals
from .report import Failure, Skip
from .sampler import of_guide
from .traces import check_close, drawn, log_prob_of, score, trace_of

POSTERIOR = "let posterior(x) return a Pyro distribution with batch shape (N,) and event shape (L,): .to_event(1)"


@dataclass
class GuideSubject(Subject):
    """A guide under test.

    Args:
        guide, program: the pair.
    """

    guide: GuideProgram
    program: GenerativeProgram

    def modules(self) -> tuple[nn.Module | None, ...]:
        """Guide, program."""
        return self.guide, self.program

    @cached_property
    def random(self) -> bool:
        """Whether two calls give different posteriors for the same images."""
        guide, _ = self.pair()
        values = drawn(trace_of(guide, self.x))
        return not torch.allclose(score(guide, self.x, values), score(guide, self.x, values), rtol=1e-4, atol=1e-3)

    def skip_if_random(self) -> None:
        """Raise ``Skip`` where a posterior cannot be asked for twice."""
        if self.random:
            raise Skip("its posterior draws random numbers of its own, so that log_prob is another at every call")


def check_pairing(s: GuideSubject) -> None:
    """It can be bound to the program."""
    try:
        s.guide.bind(s.program)
    except InvalidInput as error:
        raise Failure(f"it refuses the program: {error}") from error


def check_sites(s: GuideSubject) -> None:
    """It samples exactly the program's latents, in plate "image" and no other, and observes nothing."""
    guide, program = s.pair()
    if isinstance(guide, Guide):  # before Pyro says of torch's distribution that it is not callable
        check_pyros("posterior(x)", guide.posterior(s.x))
    trace = trace_of(guide, s.x)
    missing = sorted(set(program.latents) - set(trace.stochastic_nodes))
    extra = sorted(set(trace.stochastic_nodes) - set(program.latents))
    if missing or extra:
        parts = [f"misses {missing}"] * bool(missing) + [f"adds {extra}"] * bool(extra)
        raise Failure(f"it {' and '.join(parts)}: sample exactly the program's latents, {sorted(program.latents)}")
    if trace.observation_nodes:
        raise Failure(f"it observes {trace.observation_nodes}: a guide observes nothing, leave obs= out")
    check_plate(trace, program.latents, len(s.x))


def check_plate(trace: Trace, names: Sequence[str], images: int) -> None:
    """Raise ``Failure`` unless each site is in plate "image" alone, the last batch dimension, of full size."""
    for name in names:
        frames = [(f.name, f.dim, f.size) for f in trace.nodes[name]["cond_indep_stack"]]
        if frames != [("image", -1, images)]:
            place = f"plates {[f[0] for f in frames]} of sizes {[f[2] for f in frames]}" if frames else "no plate"
            raise Failure(
                f'site {name!r} is in {place} for {images} images: sample it inside pyro.plate("image", len(x)) alone'
            )


def check_shapes(s: GuideSubject) -> None:
    """One value of the prior's event shape per image, for 1, 2 and 5 images."""
    guide, program = s.pair()
    for number in (5, 2, 1):
        x = s.x[:number]
        prior, trace = trace_of(program, x), trace_of(guide, x)
        for name in program.latents:
            event = prior.nodes[name]["fn"].event_shape
            check_event(f"site {name!r}", trace.nodes[name]["fn"], (number,), event)
            found, expected = tuple(trace.nodes[name]["value"].shape), (number, *event)
            if found != expected:
                raise Failure(f"site {name!r} draws shape {found} for {number} images, not {expected}: {POSTERIOR}")


def check_pyros(what: str, found: object) -> None:
    """Raise ``Failure`` unless it is a Pyro distribution."""
    if not isinstance(found, TorchDistributionMixin):
        kind = f"{type(found).__module__}.{type(found).__name__}"
        raise Failure(f"{what} is a {kind}, no Pyro distribution: take those of pyro.distributions, torch's are none")


def check_event(what: str, found: object, batch: Sequence[int], event: Sequence[int]) -> None:
    """Raise ``Failure`` unless it is a Pyro distribution of these shapes."""
    check_pyros(what, found)
    if (tuple(found.batch_shape), tuple(found.event_shape)) != (tuple(batch), tuple(event)):
        raise Failure(
            f"{what} has batch shape {tuple(found.batch_shape)} and event shape {tuple(found.event_shape)}, not "
            f"{tuple(batch)} and {tuple(event)}: .to_event(1) makes the last dimension one event"
        )


def check_leading(s: GuideSubject) -> None:
    """Under particle plates at dim -2 and -3, and by sample and expand: the same posterior, drawn anew each time."""
    guide, program = s.pair()
    events = {name: trace_of(guide, s.x).nodes[name]["fn"].event_shape for name in program.latents}
    for particles in ((3,), (2, 3)):
        trace = trace_of(guide, s.x, particles=particles)
        for name, event in events.items():
            found, expected = tuple(trace.nodes[name]["value"].shape), (*particles, len(s.x), *event)
            if found != expected:
                raise Failure(
                    f"under plates of {particles} site {name!r} draws shape {found}, not {expected}: let the "
                    "distribution's expand and sample keep leading dimensions"
                )
        check_draws_differ(trace)
        values, together = drawn(trace), log_prob_of(trace)
        singly = {name: value[(0,) * len(particles)] for name, value in values.items()}
        otherwise = "the density of a draw changes with the plates around it: let log_prob and expand broadcast"
        check_close(together[(0,) * len(particles)], score(guide, s.x, singly), otherwise)
    if isinstance(guide, Guide):
        check_distribution_shapes(guide.posterior(s.x), "posterior(x)")


def check_draws_differ(trace: Trace) -> None:
    """Raise ``Failure`` if particles share their draws (of continuous sites: discrete ones may agree by chance)."""
    for name in trace.stochastic_nodes:
        value = trace.nodes[name]["value"]
        if not trace.nodes[name]["fn"].support.is_discrete and torch.equal(value[..., :1, :, :], value[..., 1:2, :, :]):
            raise Failure(f"the particles of site {name!r} are one draw repeated: draw anew for every batch dimension")


def check_distribution_shapes(distribution: TorchDistributionMixin, what: str) -> None:
    """Raise ``Failure`` unless sample, log_prob and expand take 0, 1 and 2 leading dimensions."""
    batch, event = distribution.batch_shape, distribution.event_shape
    for leading in (torch.Size(), torch.Size((3,)), torch.Size((2, 3))):
        for how, one in (("", distribution), (".expand(...)", distribution.expand(leading + batch))):
            sample_shape = torch.Size() if how else leading
            value = one.sample(sample_shape)
            shapes = {"sample": (value.shape, leading + batch + event)}
            shapes["log_prob"] = (one.log_prob(value).shape, leading + batch)
            for name, (found, expected) in shapes.items():
                if found != expected:
                    raise Failure(
                        f"{what}{how}.{name} gives shape {tuple(found)} for {len(leading)} leading dimensions, not "
                        f"{tuple(expected)}: keep leading dimensions, sum over the event alone"
                    )


def check_support(s: GuideSubject) -> None:
    """Draws lie where the prior has mass, and both are densities or both probabilities."""
    guide, program = s.pair()
    trace = trace_of(guide, s.x, particles=(200,))
    replayed = trace_of(program, s.x, particles=(200,), values=drawn(trace))
    for name in program.latents:
        prior, posterior, value = replayed.nodes[name]["fn"], trace.nodes[name]["fn"], trace.nodes[name]["value"]
        kinds = [_kind(posterior), _kind(prior)]
        if kinds[0] != kinds[1]:
            raise Failure(
                f"site {name!r} is {kinds[0]} and its prior {kinds[1]}, so that no ELBO is a bound: give a {kinds[1]} "
                "distribution"
            )
        if not prior.support.check(value).all():
            raise Failure(
                f"draws of site {name!r} lie outside the prior's support, {prior.support}: give a distribution on it"
            )


def _kind(distribution: TorchDistributionMixin) -> str:
    base = distribution
    while "base_dist" in vars(base):
        base = base.base_dist
    if isinstance(base, dist.Delta):
        return "a point mass"
    return "discrete" if distribution.support.is_discrete else "continuous"


def check_finite(s: GuideSubject) -> None:
    """Draws and their log-densities are finite, under no_grad, as estimators call a guide."""
    guide, program = s.pair()
    with torch.no_grad():
        trace = trace_of(guide, s.x, particles=(50,))
        for name in program.latents:
            if not trace.nodes[name]["value"].isfinite().all():
                raise Failure(f"draws of site {name!r} are NaN or infinite: keep scales positive and outputs bounded")
        if not log_prob_of(trace).isfinite().all():
            raise Failure("log_prob of its own draws is NaN or infinite: keep scales away from 0 and draws off borders")
        joint = log_prob_of(trace_of(program, s.x, particles=(50,), values=drawn(trace)))
    if joint.isnan().any():
        raise Failure("the program's log p(x, z) at its draws is NaN: keep the draws within what the program can take")


def check_samples(s: GuideSubject) -> str:
    """The draws come from log_prob's density: ``fit`` and, for one or two numbers, ``quadrature``."""
    guide, _ = s.pair()
    with torch.no_grad():
        s.skip_if_random()
        sampler = of_guide(guide, s.x)
        remark = check_fit(sampler)
        try:
            return f"{remark}, {check_marginals(sampler)}"
        except Skip:
            return remark


def check_permutation(s: GuideSubject) -> None:
    """Images in another order have their posteriors in that order."""
    guide, _ = s.pair()
    order = torch.tensor([3, 0, 4, 1, 2], device=s.x.device)
    with torch.no_grad():
        s.skip_if_random()
        values = drawn(trace_of(guide, s.x))
        moved = {name: value[order] for name, value in values.items()}
        otherwise = "images in another order get other posteriors: compute each from its image, not from its place"
        check_close(score(guide, s.x[order], moved), score(guide, s.x, values)[order], otherwise)


def check_alone(s: GuideSubject) -> None:
    """In evaluation mode an image's posterior is the same alone as beside others."""
    guide, _ = s.pair()
    with torch.no_grad():
        s.skip_if_random()
        values = drawn(trace_of(guide, s.x))
        together = score(guide, s.x, values)
        for number in range(0, len(s.x), 2):
            row = slice(number, number + 1)
            alone = score(guide, s.x[row], {name: value[row] for name, value in values.items()})
            otherwise = "in evaluation mode an image's posterior depends on the rest of its batch: use no batch "
            check_close(alone, together[row], otherwise + "statistics there (nn.BatchNorm keeps running ones)")
