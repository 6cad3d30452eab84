"""The counted pass: K chains per image along the path, forward from its start or back from the latents that made x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .bridge import Bridge, Point
from .hmc import move
from .noise import STRETCH, draw_noise
from .tuning import Tuning


@dataclass(frozen=True)
class Pass:
    """Where a pass stands.

    Attributes:
        point: the chains.
        log_weight: (K, N), float64.
        accepted: (K, N), accepted moves.
        visited: temperatures whose increment is in the weights.
    """

    point: Point
    log_weight: Tensor
    accepted: Tensor
    visited: int = 0

    @classmethod
    def begin(cls, point: Point) -> Pass:
        """No temperature visited, weights of 1."""
        zero = torch.zeros_like(point.log_ratio, dtype=torch.float64)
        return cls(point, zero, torch.zeros_like(point.log_ratio))

    def state(self) -> dict[str, Tensor | int]:
        """As tensors, for a file."""
        point = {f"point.{field.name}": getattr(self.point, field.name) for field in fields(Point)}
        return {**point, "log_weight": self.log_weight, "accepted": self.accepted, "visited": self.visited}

    @classmethod
    def of_state(cls, state: dict[str, Tensor | int]) -> Pass:
        """The pass that ``state`` describes."""
        point = Point(*(state[f"point.{field.name}"] for field in fields(Point)))
        return cls(point, state["log_weight"], state["accepted"], state["visited"])


def run_pass(
    bridge: Bridge,
    tuning: Tuning,
    begun: Pass,
    key: tuple,
    index: Sequence[int],
    num_leapfrog: int,
    *,
    reverse: bool = False,
    after: Callable[[Pass], None] = lambda current: None,
) -> Pass:
    """Visit the remaining temperatures.

    Forward (Neal 2001, physics/9803008), from z_0 ~ start, with moves that leave f_beta_t invariant in between:

        log w = sum_{t=1}^T (beta_t - beta_{t-1}) V(z_{t-1}),        E[w] = p(x)

    Reverse (Grosse et al. 2015, 1511.02543), from z_{T-1} ~ p(z | x), the same sum over the same moves in the opposite
    order: E[1/w] = 1/p(x). Either way T - 1 moves are made.

    Args:
        bridge, tuning: of the block.
        begun: where to go on.
        key, index: of the noise, see ``draw_noise``; the stretch of moves is added.
        num_leapfrog: steps of one move.
        reverse: from beta = 1 to 0.
        after: told the pass after each stretch of moves.
    """
    total = len(tuning.betas) - 1
    betas = tuning.betas.flip(0) if reverse else tuning.betas
    increments, slopes, current = betas.diff(dim=0).abs(), betas.to(begun.point.u), begun
    while current.visited < total:
        stretch, low = current.visited // STRETCH, current.visited
        high = min((stretch + 1) * STRETCH, total)
        shape = (current.point.u.shape[0], current.point.u.shape[-1])
        noise = draw_noise(key, index, stretch, shape, current.point.u)
        steps = tuning.steps(betas[low + 1 : high + 1])
        for visit in range(low, high):
            row = visit % STRETCH
            log_weight = current.log_weight + increments[visit] * current.point.log_ratio.double()
            current = replace(current, log_weight=log_weight, visited=visit + 1)
            if visit + 1 == total:
                break
            step = steps[visit - low] * noise.jitter[row].unsqueeze(-1)
            point, accepted, _ = move(
                bridge, current.point, slopes[visit + 1], step, noise.momentum[row], noise.log_uniform[row],
                num_leapfrog,
            )  # fmt: skip
            current = replace(current, point=point, accepted=current.accepted + accepted)
        after(current)
    return current
