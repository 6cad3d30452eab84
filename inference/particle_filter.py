"""A particle filter along an ordering: the missing pixels of an image drawn given the others, with weights.

With p(x) = prod_t p(x_t | x_<t), each of K particles runs through the pixels in the order of generation. A missing
pixel is drawn from its conditional; a given one multiplies the particle's weight by its conditional likelihood. Where
the effective sample size falls under K / 2 the particles are resampled (Gordon, Salmond & Smith 1993; Doucet &
Johansen 2009; for graphical models Naesseth, Lindsten & Schon 2014, 1402.0330). The product of the mean weights is an
unbiased estimate of p(given pixels) (Del Moral 2004), exact where no pixel is given after a missing one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ppl_models.distributions import Autoregressive
from ppl_models.nets import Cache


@dataclass(frozen=True)
class Noise:
    """Uniforms that decide a run, per image.

    Args:
        pixels: (N, K, D), entry i becomes pixel i of a particle by the inverse distribution function.
        resampling: (N, D), entry i places the systematic grid if the particles are resampled before pixel i.
    """

    pixels: Tensor
    resampling: Tensor


@dataclass(frozen=True)
class Particles:
    """Weighted completions of N images, K each; the weights and what follows from them in float64.

    Args:
        x: (N, K, D), given pixels included.
        log_weights: (N, K), normalised: their exponentials sum to 1 per image.
        log_evidence: (N,) nats, an estimate of log p(given pixels) that is unbiased on the scale of p.
        ess_least: (N,), the least effective sample size 1 / sum_k W_k^2 at which a pixel was drawn or the run ended.
        ess_final: (N,), that at the end, which resampling keeps high.
        lineages: (N,), 1 / sum_a W_a^2 with W_a the final weight of all descendants of particle a at the first missing
            pixel: how many draws of the *first* missing pixels are left, which is what resampling uses up.
    """

    x: Tensor
    log_weights: Tensor
    log_evidence: Tensor
    ess_least: Tensor
    ess_final: Tensor
    lineages: Tensor


class FullPasses(Cache):
    """What a net without a cache remembers: the pixels. Every step is a pass of the whole net."""

    def __init__(self, distribution: Autoregressive, rows: int) -> None:
        super().__init__(distribution.ordering)
        self.net = distribution.frozen()
        self.state = {"x": distribution.like.new_zeros(rows, len(distribution.ordering))}

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P); no conditional of the block reads its last pixel, whatever stands there."""
        pixels = list(self.ordering.sequence[self.step : self.step + values.shape[1]])
        self.state["x"][:, pixels] = values
        return self.net(self.state["x"])[:, pixels]

    def commit(self, values: Tensor) -> None:
        """Keep the pixels."""
        pixels = list(self.ordering.sequence[self.step : self.step + values.shape[1]])
        self.state["x"][:, pixels] = values
        self.step += len(pixels)


@torch.no_grad()
def particle_filter(
    distribution: Autoregressive,
    x: Tensor,
    observed: Tensor,
    noise: Noise,
    tick: Callable[[int], object] = lambda _: None,
) -> Particles:
    """Run K particles per image along the ordering.

    Args:
        distribution: of one image, without a context; its net's cache is used where there is one.
        x: (N, D), read where ``observed``.
        observed: (N, D) bool.
        noise: whose shape says K.
        tick: called with the number of steps that are done.
    """
    run = _Run(distribution, x, observed, noise)
    known = (~run.missing).all(0).tolist()
    while (step := run.cache.step) < len(known):
        if known[step]:
            run.score(_stretch(known, step, run.cache.limit))
        else:
            run.draw()
        tick(run.cache.step - step)
    return run.particles()


def _stretch(known: list[bool], step: int, limit: int) -> int:
    """How many steps from this one on are given in every image, ``limit`` at most."""
    end = step
    while end < len(known) and known[end] and end - step < limit:
        end += 1
    return end - step


class _Run:
    """The state of a run; pixels stand in the order of generation.

    Until the first missing pixel all particles of an image are alike, and one row stands for them.
    """

    def __init__(self, distribution: Autoregressive, x: Tensor, observed: Tensor, noise: Noise) -> None:
        self.rank = list(distribution.ordering.rank)
        sequence = list(distribution.ordering.sequence)
        self.family = distribution.family
        self.given = torch.where(observed, x, torch.zeros_like(x))[:, sequence]
        self.missing = ~observed[:, sequence]
        self.noise = Noise(noise.pixels[..., sequence], noise.resampling[..., sequence])
        self.images, self.count = noise.pixels.shape[:2]
        self.copies = 1
        self.cache = self._cache(distribution)
        self.path = torch.empty_like(self.noise.pixels)
        self.log_weights = torch.zeros(self.images, self.count, dtype=torch.float64, device=x.device)
        self.log_evidence = self.log_weights.new_zeros(self.images)
        self.ess_least = torch.full_like(self.log_evidence, self.count)
        self.own = torch.arange(self.count, device=x.device).expand(self.images, -1)
        self.ancestors = self.own

    def _cache(self, distribution: Autoregressive) -> Cache:
        """One row per image."""
        if distribution.cache is None:
            return FullPasses(distribution, self.images)
        return distribution.cache(torch.Size((self.images,)))

    def score(self, steps: int) -> None:
        """The next pixels are given in every image: one block."""
        block = slice(self.cache.step, self.cache.step + steps)
        values = self.given[:, block].repeat_interleave(self.copies, 0)
        log_prob = self.family.log_prob(self.cache.parameters(values), values).double().sum(-1)
        self.log_weights += log_prob.view(self.images, self.copies)
        self._commit(values)

    def draw(self) -> None:
        """The next pixel is missing in some image: drawn there, scored in the others."""
        step = self.cache.step
        self._expand()
        self._resample(self.missing[:, step])
        missing = self.missing[:, step].repeat_interleave(self.count)
        parameters = self.cache.parameters(torch.zeros_like(self.path[..., step]).view(-1, 1))[:, 0]
        drawn = self.family.draw(parameters, self.noise.pixels[..., step].reshape(-1))
        values = torch.where(missing, drawn, self.given[:, step].repeat_interleave(self.count))
        log_prob = self.family.log_prob(parameters, values).double()
        self.log_weights += log_prob.masked_fill(missing, 0).view(self.images, self.count)
        self._commit(values.unsqueeze(-1))

    def _commit(self, values: Tensor) -> None:
        step = self.cache.step
        self.cache.commit(values)
        self.path[..., step : step + values.shape[1]] = values.view(self.images, self.copies, -1)

    def _expand(self) -> None:
        """From one row per image to one per particle."""
        if self.copies < self.count:
            self.cache.select(torch.arange(self.images, device=self.path.device).repeat_interleave(self.count))
            self.copies = self.count

    def _resample(self, drawing: Tensor) -> None:
        """Resample the images that draw a pixel now and have few effective particles left; the others stay."""
        ess = effective(self.log_weights)
        self.ess_least = torch.where(drawing, torch.minimum(self.ess_least, ess), self.ess_least)
        poor = drawing & (ess < self.count / 2)
        if not poor.any():
            return
        step, chosen = self.cache.step, poor.unsqueeze(-1)
        index = torch.where(chosen, systematic(self.log_weights, self.noise.resampling[:, step], self.count), self.own)
        self.log_evidence += torch.where(poor, log_mean_exp(self.log_weights), 0)
        self.log_weights = self.log_weights.masked_fill(chosen, 0)
        self.ancestors = self.ancestors.gather(1, index)
        self.path[..., :step] = self.path[..., :step].gather(1, index.unsqueeze(-1).expand(-1, -1, step))
        first = self.count * torch.arange(self.images, device=index.device)
        self.cache.select((first.unsqueeze(-1) + index).flatten())

    def particles(self) -> Particles:
        """What the run ends with, the pixels back in their places."""
        log_weights = torch.log_softmax(self.log_weights, -1)
        lines = torch.zeros_like(log_weights).scatter_add(1, self.ancestors, log_weights.exp())
        final = effective(log_weights)
        return Particles(
            self.path[..., self.rank],
            log_weights,
            self.log_evidence + log_mean_exp(self.log_weights),
            torch.minimum(self.ess_least, final),
            final,
            1 / lines.square().sum(-1),
        )


def pooled(parts: Sequence[Particles]) -> Particles:
    """Runs under the components of an equal mixture as one weighted set, component by component.

    p(missing, c | given) is proportional to p_c(given) p_c(missing | given): component c gets the share Z_c / sum Z of
    the weight, and the mean of the Z_c estimates p(given), unbiased as they are. Effective sample sizes combine as
    1 / ESS = sum_c share_c^2 / ESS_c, which for the final weights is their definition.
    """
    evidence = torch.stack([part.log_evidence for part in parts])
    shares = torch.log_softmax(evidence, 0)
    log_weights = [part.log_weights + share.unsqueeze(-1) for part, share in zip(parts, shares, strict=True)]
    squares = shares.exp().square()
    return Particles(
        torch.cat([part.x for part in parts], 1),
        torch.cat(log_weights, 1),
        evidence.logsumexp(0) - math.log(len(parts)),
        *(
            1 / (squares / torch.stack([getattr(part, name) for part in parts])).sum(0)
            for name in ("ess_least", "ess_final", "lineages")
        ),
    )


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """log 1/K sum_k exp w_k: (N, K) -> (N,)."""
    return log_weights.logsumexp(-1) - math.log(log_weights.shape[-1])


def effective(log_weights: Tensor) -> Tensor:
    """Effective sample size 1 / sum_k W_k^2 of weights that need not be normalised: (N, K) -> (N,), 1..K."""
    return 1 / torch.softmax(log_weights, -1).square().sum(-1)


def systematic(log_weights: Tensor, offset: Tensor, count: int) -> Tensor:
    """Systematic resampling (Kitagawa 1996): indices of ``count`` particles, each W_k * count times up to rounding.

    The grid (offset + j) / count meets the cumulative weights: (N, K) and uniforms (N,) -> (N, count), ascending.
    """
    cumulative = torch.softmax(log_weights, -1).cumsum(-1)
    grid = (offset.double().unsqueeze(-1) + torch.arange(count, device=offset.device)) / count
    # Divided by their last, the cumulative weights end in 1 exactly, which no point of the grid reaches.
    index = torch.searchsorted(cumulative / cumulative[:, -1:], grid.contiguous(), right=True)
    return index.clamp(max=log_weights.shape[-1] - 1)
