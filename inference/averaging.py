"""An exponential moving average of the weights, which is what is validated, kept and evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """a <- d a + (1 - d) w after every update, with d = min(decay, (1 + n) / (10 + n)) (Polyak & Juditsky 1992,
    exponential form).

    The early, smaller d forgets the initial weights. With ``decay=0`` the average is the weights themselves.

    Args:
        module: whose parameters are averaged.
        decay: between 0 and 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters] if decay else self.parameters

    @torch.no_grad()
    def update(self) -> None:
        """Count one update of the weights."""
        self.updates += 1
        if self.decay:
            rate = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], rate)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module has the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        if self.decay:
            for averaged, parameter in zip(self.average, self.parameters, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(averaged)
                averaged.copy_(kept)

    def state_dict(self) -> dict[str, int | list[Tensor]]:
        """What a resumed run needs."""
        return {"updates": self.updates, "average": self.average if self.decay else []}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, int | list[Tensor]]) -> None:
        """Continue from ``state_dict()``."""
        self.updates = state["updates"]
        for averaged, saved in zip(self.average, state["average"], strict=False):
            averaged.copy_(saved)
