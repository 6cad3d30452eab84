"""Which images can be completed exactly, under which ordering, and what is done about the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.distributions import Autoregressive
from ppl_models.errors import InvalidInput, nearest
from ppl_models.ordering import Ordering
from ppl_models.program import TractableProgram

from .claims import Claim

METHODS = ("auto", "exact", "smc")


@dataclass(frozen=True)
class Job:
    """Images that are completed alike.

    Args:
        components: the distributions whose equal mixture is meant; one where it is none.
        counts: particles per component; for an exact job these are independent draws.
        rows: which images of the batch.
        claim: ``EXACT`` or ``ESTIMATE``.
        reason: what makes it so.
    """

    components: Sequence[Autoregressive]
    counts: Sequence[int]
    rows: list[int]
    claim: Claim
    reason: str

    def chunks(self, batch: int) -> list[Job]:
        """The job for so many of its images at a time that the rows of the net stay within ``batch``."""
        size = max(1, batch // max(self.counts))
        return [replace(self, rows=self.rows[start : start + size]) for start in range(0, len(self.rows), size)]


def components_of(program: nn.Module) -> Sequence[Autoregressive]:
    """The autoregressive distributions whose equal mixture the program is.

    Raises:
        NotADensityError, InvalidInput: if it is none.
    """
    if isinstance(program, NotADensity):
        program.refuse("in-painting")
    name = type(program).__name__
    if not isinstance(program, TractableProgram):
        remedy = "use an autoregressive program such as made: z given some pixels, by MCMC, is not offered here"
        raise InvalidInput("program", name, "its pixels depend on latents that would have to be inferred", remedy)
    distribution = program.distribution()
    components = list(getattr(distribution, "components", [distribution]))
    if not components or any(not isinstance(c, Autoregressive) or c.context_shape for c in components):
        problem = f"its distribution is not Autoregressive but {type(distribution).__name__}"
        raise InvalidInput("program", name, problem, "use an autoregressive program such as made")
    return components


def is_suffix(missing: Tensor, ordering: Ordering) -> Tensor:
    """Whether the missing pixels are the last of the ordering, none and all of them included: (N, D) bool -> (N,)."""
    steps = missing[:, list(ordering.sequence)]
    return (steps[:, 1:] >= steps[:, :-1]).all(-1)


def plan(
    program: TractableProgram,
    components: Sequence[Autoregressive],
    observed: Tensor,
    method: str,
    num_draws: int,
    particles: int,
) -> list[Job]:
    """What to do for which images; arguments as for ``complete``.

    Raises:
        InvalidInput: for an unknown method, one that cannot be had, or too few particles.
    """
    if method not in METHODS:
        raise InvalidInput("method", method, "unknown way to complete images", nearest(method, METHODS))
    exact = torch.stack([is_suffix(~observed, c.ordering) for c in components]).all(0)
    what = "the ordering" if len(components) == 1 else f"all {len(components)} orderings"
    whole, empty = observed.all(-1), ~observed.any(-1)
    kinds = {
        "exact: nothing is missing": whole,
        "exact: nothing is given": empty,
        f"exact: the missing pixels are a suffix of {what}": exact & ~whole & ~empty,
    }
    counts = [num_draws] * len(components)
    jobs = [Job(components, counts, _rows(kind), Claim.EXACT, reason) for reason, kind in kinds.items()]
    rest = _rows(~exact)
    if rest and method != "smc" and len(components) == 1 and getattr(program, "order_agnostic", False):
        jobs += _reordered(program, components[0].ordering, observed, rest, num_draws)
    elif rest:
        jobs.append(_estimated(components, rest, method, particles))
    return [job for job in jobs if job.rows]


def _rows(chosen: Tensor) -> list[int]:
    return chosen.nonzero()[:, 0].tolist()


def _reordered(
    program: TractableProgram, ordering: Ordering, observed: Tensor, rows: list[int], num_draws: int
) -> list[Job]:
    """A job per mask: the given pixels first, both kinds in the saved order."""
    alike: dict[tuple[bool, ...], list[int]] = {}
    for row, mask in zip(rows, observed[rows].tolist(), strict=True):
        alike.setdefault(tuple(mask), []).append(row)
    jobs = []
    for mask, members in alike.items():
        given = [pixel for pixel in ordering.sequence if mask[pixel]]
        missing = [pixel for pixel in ordering.sequence if not mask[pixel]]
        distribution = program.reordered(Ordering((*given, *missing)))
        reason = "exact under the ordering that generates the given pixels first"
        jobs.append(Job([distribution], [num_draws], members, Claim.EXACT, reason))
    return jobs


def _estimated(components: Sequence[Autoregressive], rows: list[int], method: str, particles: int) -> Job:
    """A particle filter per component; K particles are exactly K."""
    if method == "exact":
        problem = f"the missing pixels of image {rows[0]} are no suffix of the ordering"
        raise InvalidInput("method", method, problem, "use auto, which estimates there, or an order-agnostic program")
    share, left = divmod(particles, len(components))
    if not share:
        problem = f"the program is a mixture of {len(components)} orderings"
        raise InvalidInput("particles", particles, problem, f"give at least {len(components)}")
    reason = f"sequential Monte Carlo with {particles} particles"
    reason += f" over {len(components)} orderings" if len(components) > 1 else ""
    counts = [share + (number < left) for number in range(len(components))]
    return Job(components, counts, rows, Claim.ESTIMATE, reason)
