"""In-painting: the missing pixels of an image drawn given the others, exactly where that can be done.

An autoregressive program draws from p(missing | given) exactly where the missing pixels are the last ones of its
ordering: their conditionals are then given all that was given. Anywhere else the given pixels that come later say
something about the missing ones, and a particle filter takes that in by weights. Every completion says which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppl_models.errors import InvalidInput
from ppl_models.program import TractableProgram

from .claims import Claim
from .completion_plan import Job, components_of, plan
from .estimators import evaluation_mode
from .estimators.base import positive
from .particle_filter import Noise, Particles, particle_filter, pooled, systematic
from .randomness import keyed_seed

# Rows (images x particles) that a net sees at once unless told otherwise.
BATCH = 1024


@dataclass(frozen=True)
class Completion:
    """Images whose missing pixels were drawn given the others.

    Args:
        x: (num_draws, N, D) whatever ``num_draws`` is, dtype and device of the images; given pixels bit for bit.
        observed: (N, D) bool, which pixels were given.
        claim: per image: ``EXACT`` (independent draws from p(missing | given), and the exact ``log_evidence``) or
            ``ESTIMATE`` (both right as the number of particles goes to infinity).
        reason: per image: what makes it exact, under which ordering, or what was done instead.
        log_evidence: (N,) nats: log p(given pixels) under the ordering that ``reason`` names. Where estimated, its
            exponential is unbiased.
        ess: (N,) the least effective sample size along the run, 1..particles; NaN where exact.
        ess_final: (N,) that of the particles the draws were taken from. Resampling keeps it high: it alone says little.
        lineages: (N,) the effective number of particles at the first missing pixel from which the final ones descend.
            Near 1 all completions share their first missing pixels, however large the two others are.
    """

    x: Tensor
    observed: Tensor
    claim: tuple[Claim, ...]
    reason: tuple[str, ...]
    log_evidence: Tensor
    ess: Tensor
    ess_final: Tensor
    lineages: Tensor


def complete(
    program: nn.Module,
    x: Tensor,
    observed: Tensor,
    *,
    num_draws: int = 1,
    particles: int = 256,
    seed: int = 0,
    method: str = "auto",
    index: Sequence[int] | None = None,
    batch: int = BATCH,
    progress: bool = False,
) -> Completion:
    """Draw the missing pixels of images from p(missing | given).

    Exact where the missing pixels are the last of the ordering (of every component's ordering, for a mixture of
    orderings), and for an order-agnostic program, which then generates the given pixels first: draws and
    ``log_evidence`` are exact under *that* ordering's density, another one than ``program.log_prob``. Elsewhere a
    particle filter, see ``inference.particle_filter``; for a mixture one per component, combined by their evidence.

    Args:
        program: whose ``distribution()`` is an ``Autoregressive``, or an equal mixture with ``components`` that are.
        x: images (N, D), floats 0..levels-1 where given; what stands elsewhere is not read and may be NaN.
        observed: bool (D,) or (N, D), which pixels are given.
        num_draws: completions per image. Where estimated they come from one set of particles, each as often as its
            weight says: they are not independent.
        particles: K per image, shared evenly by the components of a mixture.
        seed: of the noise.
        method: ``"auto"``; ``"exact"``, which refuses what would be an estimate; or ``"smc"``, which stays with the
            saved ordering of an order-agnostic program.
        index: each image's index, the key of its noise; 0..N-1 unless given. An image's completion does not depend on
            the others in the batch.
        batch: most rows (images x particles) that the net sees at once, but one image's particles at least.
        progress: show a bar.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: for a program that has no autoregressive distribution, images or masks of another form, a given
            pixel outside 0..levels-1 or not whole, given pixels of probability 0, counts below 1, or an unknown method.
    """
    with evaluation_mode(program):
        components = components_of(program)
        for argument, value in (("num_draws", num_draws), ("particles", particles), ("batch", batch)):
            positive(argument, value, "it")
        images, mask = _checked(program, x, observed)
        keys = [int(key) for key in (range(len(x)) if index is None else index)]
        if len(keys) != len(x):
            raise InvalidInput("index", f"{len(keys)} entries", f"there are {len(x)} images", "give one per image")
        jobs = plan(program, components, mask, method, num_draws, particles)
        jobs = [chunk for job in jobs for chunk in job.chunks(batch)]
        task = _Task(images.to(components[0].like), mask.to(components[0].like.device), keys, num_draws, seed)
        total = sum(len(job.components) for job in jobs) * x.shape[1]
        with tqdm(total=total, disable=not progress, unit="step", leave=False) as bar:
            found = [task.draw(job, bar.update) for job in jobs]
    return _assembled(x, mask, jobs, found)


def _checked(program: TractableProgram, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """The images with 0 in place of what is missing, and the mask (N, D)."""
    program.check(torch.zeros_like(x) if isinstance(x, Tensor) else x)  # of the right form, whatever it holds
    if not len(x):
        raise InvalidInput("x", tuple(x.shape), "there are no images", "give at least one")
    if not isinstance(observed, Tensor) or observed.dtype != torch.bool:
        kind = str(observed.dtype) if isinstance(observed, Tensor) else type(observed).__name__
        raise InvalidInput("observed", kind, "says which pixels are given", "give a bool tensor")
    if observed.shape not in (x.shape, x.shape[1:]):
        remedy = f"give {tuple(x.shape[1:])}, or {tuple(x.shape)} for a mask per image"
        raise InvalidInput("observed", tuple(observed.shape), f"the images are {tuple(x.shape)}", remedy)
    mask = observed.to(x.device).expand(x.shape)
    images = torch.where(mask, x, torch.zeros_like(x))
    program.check(images)
    return images, mask


@dataclass(frozen=True)
class _Task:
    """What is to be completed: images (N, D) with their masks and the keys of their noise."""

    images: Tensor
    observed: Tensor
    keys: Sequence[int]
    num_draws: int
    seed: int

    def draw(self, job: Job, tick: Callable[[int], object]) -> tuple[Tensor, Particles]:
        """Completions (n, num_draws, D) of a job's images, and the particles they were taken from."""
        x, observed = self.images[job.rows], self.observed[job.rows]
        runs = []
        for number, (component, count) in enumerate(zip(job.components, job.counts, strict=True)):
            uniforms = self._uniforms(job.rows, (count + 1, x.shape[1]), number)
            runs.append(particle_filter(component, x, observed, Noise(uniforms[:, :-1], uniforms[:, -1]), tick))
        particles = pooled(runs)
        self._check(job.rows, particles.log_evidence)
        noise = self._uniforms(job.rows, (self.num_draws + 1,), "draws")
        choose = _independent if job.claim is Claim.EXACT else _weighted
        chosen = choose(particles.log_weights, noise[:, 0], noise[:, 1:])
        return particles.x.gather(1, chosen.unsqueeze(-1).expand(-1, -1, x.shape[1])), particles

    def _uniforms(self, rows: Sequence[int], shape: tuple[int, ...], part: object) -> Tensor:
        """(n, *shape), keyed by (seed, image index); drawn on the CPU, so that they do not depend on the device."""
        seeds = [keyed_seed(self.seed, "completion", self.keys[row], part) for row in rows]
        sources = [torch.Generator().manual_seed(seed) for seed in seeds]
        uniforms = [torch.rand(shape, dtype=self.images.dtype, generator=source) for source in sources]
        return torch.stack(uniforms).to(self.images.device)

    def _check(self, rows: Sequence[int], log_evidence: Tensor) -> None:
        for row, value in zip(rows, log_evidence.tolist(), strict=True):
            if value - value != 0:  # infinite or NaN
                problem = f"its given pixels have log-probability {value} under the program"
                remedy = "give pixels that it can produce, or train it again"
                raise InvalidInput("x", f"image {self.keys[row]}", problem, remedy)


def _independent(log_weights: Tensor, _: Tensor, noise: Tensor) -> Tensor:
    """Draw j is particle j of a component that is drawn by its share; within a component the weights are equal."""
    count = noise.shape[-1]
    shares = log_weights.exp().unflatten(-1, (-1, count)).sum(-1)
    component = (noise.unsqueeze(-1) >= shares.cumsum(-1)[:, None, :-1]).sum(-1)
    return component * count + torch.arange(count, device=noise.device)


def _weighted(log_weights: Tensor, offset: Tensor, noise: Tensor) -> Tensor:
    """Each particle as often as its weight says up to rounding, in random order."""
    return systematic(log_weights, offset, noise.shape[-1]).gather(1, noise.argsort(-1))


def _assembled(
    x: Tensor, observed: Tensor, jobs: Sequence[Job], found: Sequence[tuple[Tensor, Particles]]
) -> Completion:
    """The results of all jobs, each image in its place."""
    drawn = x.new_empty(found[0][0].shape[1], *x.shape)
    numbers = torch.full((4, len(x)), torch.nan, dtype=torch.float64, device=x.device)
    owner: dict[int, Job] = {}
    for job, (draws, particles) in zip(jobs, found, strict=True):
        owner |= dict.fromkeys(job.rows, job)
        drawn[:, job.rows] = draws.transpose(0, 1).to(x)
        numbers[0, job.rows] = particles.log_evidence.to(x.device)
        if job.claim is Claim.ESTIMATE:
            diagnostics = torch.stack([particles.ess_least, particles.ess_final, particles.lineages])
            numbers[1:, job.rows] = diagnostics.to(x.device)
    claim, reason = zip(*((owner[row].claim, owner[row].reason) for row in range(len(x))), strict=True)
    return Completion(torch.where(observed, x, drawn), observed, claim, reason, *numbers)
