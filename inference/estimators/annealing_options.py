"""Options of annealing on the command line."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ppl_models.errors import InvalidInput, nearest
from ppl_models.guides import GuideProgram

from ..annealing import SCHEDULES
from .annealed import Annealed
from .base import positive


@dataclass(frozen=True)
class AnnealingOptions:
    """Options of ``ais:T`` and ``bdmc:T`` on the command line.

    Args:
        chains: K.
        start: ``"prior"`` or ``"guide"``, the run's.
        schedule: see ``Annealed``.
        leapfrog: steps of one move.
        simulated: images that ``bdmc`` simulates.
    """

    chains: int = 16
    start: str = "prior"
    schedule: str = "sigmoid"
    leapfrog: int = 10
    simulated: int = 100

    def __post_init__(self) -> None:
        """Refuse what no program admits.

        Raises:
            InvalidInput: for numbers below 1, an unknown start or schedule.
        """
        for name in ("chains", "leapfrog", "simulated"):
            positive(f"--{name}", getattr(self, name), "the number")
        for name, known in (("start", ("prior", "guide")), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise InvalidInput(f"--{name}", getattr(self, name), "is unknown", nearest(getattr(self, name), known))

    def build(
        self, cls: type[Annealed], number: int, program: nn.Module, guide: GuideProgram | None, seed: int
    ) -> Annealed:
        """The estimator, its program checked.

        Raises:
            InvalidInput: for a program without continuous latents, or a start at a guide that is not there.
        """
        if self.start == "guide" and guide is None and program.latents:
            raise InvalidInput("--start", self.start, f"{type(program).__name__} has no guide here", "use prior")
        start = guide if self.start == "guide" else "prior"
        estimator = cls(number, self.chains, start, self.schedule, self.leapfrog, seed=seed)
        estimator.check(program)
        return estimator
