"""How the gap of a bound is split: what the per-image optimization may spend."""

from __future__ import annotations

from dataclasses import dataclass

from ppl_models.errors import InvalidInput


@dataclass(frozen=True)
class GapSettings:
    """What ``--gap`` takes; ``--gap.steps 800`` and so on.

    Args:
        images: how many images of the split are decomposed, the first ones; all that are scored unless given.
        starts: of the optimization of each image: the encoder's own answer, a prior-like one, then perturbed answers
            of the encoder.
        steps: of Adam, from each start.
        learning_rate: of Adam at first; it falls to zero along a line, so that the last steps average the noise out.
        num_particles: draws of z per image and step.
        final_particles: draws for the choice among the starts, and as many fresh ones for each value that is reported.

    Raises:
        InvalidInput: for a count below 1, fewer than 2 final particles (there would be no standard error), or a rate
            that is not positive.
    """

    images: int | None = None
    starts: int = 3
    steps: int = 400
    learning_rate: float = 0.1
    num_particles: int = 8
    final_particles: int = 1000

    def __post_init__(self) -> None:
        least = {"images": 1, "starts": 1, "steps": 1, "num_particles": 1, "final_particles": 2}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                problem = f"must be at least {smallest}"
                raise InvalidInput(f"--gap.{name}", value, problem, "give a positive whole number")
        if not self.learning_rate > 0:
            raise InvalidInput("--gap.learning_rate", self.learning_rate, "must be positive", "give for example 0.1")
