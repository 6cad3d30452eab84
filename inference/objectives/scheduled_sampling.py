"""Scheduled sampling: an autoregressive program is trained on histories that it drew itself, in part."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ppl_models.distributions import Autoregressive
from ppl_models.errors import InvalidInput, nearest
from ppl_models.program import TractableProgram

from ..estimators.base import evaluation_mode
from .base import Objective, refuse_baseline

# The argument of the sigmoid runs from -STEEPNESS to STEEPNESS; the exponential decays to REST. Both are then stretched
# to [0, 1].
STEEPNESS, REST = 5.0, 0.01

# From progress in [0, 1] to the part of the way from start to end, also in [0, 1] (Bengio et al. 2015, section 2.4).
SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "exponential": lambda progress: (1 - REST**progress) / (1 - REST),
    "sigmoid": lambda progress: 0.5 + 0.5 * math.tanh(STEEPNESS * (progress - 0.5)) / math.tanh(STEEPNESS / 2),
}


class ScheduledSampling(Objective):
    """-1/N sum_n sum_t log p(x_t | x~_<t) in nats, the history x~ partly the program's own (Bengio et al. 2015,
    1506.03099).

    Each pixel of x~ is, with probability p and independently of all others, drawn by the program given *its* earlier
    pixels of x~; otherwise it is the pixel of the data. p goes from ``start`` to ``end`` over the first updates and
    stays. At p = 0 this is ``NegativeLogLikelihood``. No gradient passes through the draws, as in the paper.

    It is **not** a consistent estimator (Huszar 2015, 1511.05101): for p > 0 its optimum is not the distribution of the
    data, however many images and weights there are. With two pixels its second conditional goes to (1 - p) p(x_2 | x_1)
    + p p(x_2), and at p = 1 every pixel to its marginal. Its value bounds nothing and is never reported; validation
    watches the exact log p(x).

    The history is drawn from the program as it is evaluated, without dropout and under its saved masks: that is the
    distribution it will be judged by, and with dropout drawn anew at every pass the parallel iteration that finds the
    history would have no fixed point. The loss is then taken in the mode of training.

    Args:
        program: one whose ``distribution()`` is ``Autoregressive``.
        guide: none.
        start, end: p at the first update, and after ``updates`` of them.
        updates: how many updates p takes to get there.
        schedule: the way: ``"linear"``, ``"exponential"`` (the probability of a pixel of the data decays towards its
            last value: fast first) or ``"sigmoid"`` (slow, fast, slow).

    The count of updates is a buffer, saved with the weights: a resumed run goes on where it was. Only calls in training
    mode are counted.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: for a program that is not autoregressive, or is trained under an ordering drawn anew at every
            update; probabilities outside [0, 1]; fewer than 1 update; an unknown schedule.
    """

    name = "scheduled-sampling"
    count: Tensor

    def __init__(
        self,
        program: nn.Module,
        guide: nn.Module | None = None,
        start: float = 0.0,
        end: float = 0.5,
        updates: int = 2000,
        schedule: str = "linear",
    ) -> None:
        refuse_baseline(program, self.name)
        self._check_program(program)
        for argument, value in (("start", start), ("end", end)):
            if not 0 <= value <= 1:
                raise InvalidInput(f"--objective.{argument}", value, "is no probability", "give a number in [0, 1]")
        if updates < 1:
            raise InvalidInput("--objective.updates", updates, "counts updates", "give at least 1")
        if schedule not in SCHEDULES:
            raise InvalidInput("--objective.schedule", schedule, "unknown schedule", nearest(schedule, SCHEDULES))
        super().__init__(program)
        self.start, self.end, self.updates, self.schedule = float(start), float(end), int(updates), schedule
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def _check_program(self, program: nn.Module) -> None:
        kind = type(program).__name__
        with evaluation_mode(program):  # a mixture over orderings may be one component in training
            known = isinstance(program, TractableProgram) and isinstance(program.distribution(), Autoregressive)
        if not known:
            problem = f"{kind} is not one autoregressive density, so that its pixels have no history"
            raise InvalidInput("--objective", self.name, problem, "use nll or elbo")
        if getattr(program, "order_agnostic", False):
            problem = f"{kind} draws an ordering at every update, and a history belongs to one ordering"
            raise InvalidInput("--objective", self.name, problem, "keep the ordering, or use nll")

    @property
    def probability(self) -> float:
        """p at the next update."""
        progress = min(int(self.count) / self.updates, 1.0)
        return self.start + (self.end - self.start) * SCHEDULES[self.schedule](progress)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> ()."""
        probability = self.probability
        if self.training:
            self.count += 1
        mixed = x
        if probability > 0:  # at 0 nothing is drawn: the very updates of NegativeLogLikelihood
            with evaluation_mode(self.program):
                own, noise = torch.rand_like(x) < probability, torch.rand_like(x)
                mixed = mixed_history(self.program.distribution(), x, own, noise)
        distribution = self.program.distribution()
        return -distribution.family.log_prob(distribution.net(mixed), x).sum(-1).mean()


@torch.no_grad()
def mixed_history(distribution: Autoregressive, x: Tensor, own: Tensor, noise: Tensor) -> Tensor:
    """The images x~ whose pixel is the distribution's own draw given the earlier pixels of x~ where ``own`` says so,
    and that of x elsewhere.

    Iterates x~ <- where(own, draw(net(x~), noise), x) from x~ = x. After pass k the first k pixels of the ordering are
    final, because they depend on earlier ones only: the result is that of drawing one pixel after the other, after at
    most D passes and mostly far fewer (the argument of ``fixed_point`` in ``ppl_models.distributions.samplers``).
    Images that have converged leave the batch. The program must be in evaluation mode.

    Args:
        distribution: of one image.
        x: images (N, D).
        own: boolean (N, D), which pixels are drawn.
        noise: uniforms (N, D); where ``own`` is true everywhere, ``distribution.sample(noise=noise)`` gives the same.

    Returns:
        x~ (N, D).
    """
    net, mixed = distribution.frozen(), x.clone()
    active = torch.arange(len(x), device=x.device)
    for _ in distribution.ordering.sequence:
        before = mixed[active]
        drawn = distribution.family.draw(net(before), noise[active])
        after = torch.where(own[active], drawn, x[active])
        mixed[active] = after
        active = active[(after != before).any(-1)]
        if not len(active):
            break
    return mixed
