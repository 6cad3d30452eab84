"""What an objective is: a module whose call gives a 0-dim loss per image. It is minimised and never reported."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput


class Objective(nn.Module, ABC):
    """A loss over a program and its guide. A subclass writes ``forward``.

    Args:
        program: what is trained.
        guide: its guide; ``None`` where there are no latents.
    """

    name: str

    def __init__(self, program: nn.Module, guide: nn.Module | None = None) -> None:
        super().__init__()
        self.program, self.guide = program, guide

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Mean loss per image, nats where it has a unit: x (N, D) -> ()."""


def refuse_baseline(program: nn.Module, objective: str) -> None:
    """Likelihood objectives need a density: raise ``NotADensityError`` for the deterministic autoencoder."""
    if isinstance(program, NotADensity):
        program.refuse(objective)


def require_guide(guide: nn.Module | None, objective: str) -> None:
    """Raise ``InvalidInput`` where a bound is to be trained without a guide."""
    if guide is None:
        raise InvalidInput("--objective", objective, "the recipe has no latents and so no guide", "use nll")
