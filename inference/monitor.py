"""What early stopping watches: the reported quantity on the validation images, with its claim. Never the training
loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.program import HasLogProb

from .claims import Claim
from .estimators.base import MAX_ELEMENTS, evaluation_mode, rows_within
from .objectives import ReconstructionError
from .randomness import keyed_noise
from .weights import log_weights


class Monitor(ABC):
    """A mean over the validation images that goes up as training succeeds.

    Args:
        images: validation images (N, D).
    """

    name: str
    claim: Claim

    def __init__(self, images: Tensor) -> None:
        self.images = images

    @abstractmethod
    def score(self, images: Tensor, number: int) -> Tensor:
        """Per-image values (n,) of batch ``number``."""

    def rows(self, *modules: nn.Module) -> int:
        """Images per batch."""
        return rows_within(8 * MAX_ELEMENTS, self.images.shape[-1], *modules)

    def __call__(self, *modules: nn.Module | None) -> float:
        """The mean, with ``modules`` in evaluation mode."""
        with evaluation_mode(*modules):
            batches = self.images.split(self.rows(*(module for module in modules if module is not None)))
            total = sum(self.score(batch, number).double().sum() for number, batch in enumerate(batches))
        return float(total) / len(self.images)


class ExactMonitor(Monitor):
    """Mean exact log p(x), nats."""

    name, claim = "exact", Claim.EXACT

    def __init__(self, images: Tensor, program: HasLogProb) -> None:
        super().__init__(images)
        self.program = program

    def score(self, images: Tensor, number: int) -> Tensor:
        """log p(x): (n, D) -> (n,)."""
        return self.program.log_prob(images)


class ElboMonitor(Monitor):
    """Mean ELBO with K particles, nats, always at beta = 1 and with the same noise, so that epochs are compared fairly.

    Its noise is drawn per batch, which is faster than the estimators' noise per image; it steers training and is not
    reported.
    """

    claim = Claim.LOWER_BOUND

    def __init__(self, images: Tensor, program: nn.Module, guide: nn.Module, seed: int) -> None:
        super().__init__(images)
        self.program, self.guide, self.seed = program, guide, seed
        self.num_particles = max(1, min(16, 20_000 // len(images)))
        self.name = f"elbo:{self.num_particles}"

    def rows(self, *modules: nn.Module) -> int:
        """Images per batch, their particles counted."""
        return max(1, super().rows(*modules) // self.num_particles)

    def score(self, images: Tensor, number: int) -> Tensor:
        """Mean log-weight: (n, D) -> (n,)."""
        with keyed_noise(self.seed, "monitor", number, device=images.device):
            return log_weights(self.program, self.guide, images, self.num_particles).mean(0)


class ReconstructionMonitor(Monitor):
    """Minus the mean squared reconstruction error: a score, no likelihood; claim ``none``."""

    name, claim = "reconstruction", Claim.NONE

    def __init__(self, images: Tensor, program: NotADensity) -> None:
        super().__init__(images)
        self.error = ReconstructionError(program)

    def score(self, images: Tensor, number: int) -> Tensor:
        """-|x - reconstruction|^2 on [0, 1], the batch's mean in every entry: (n, D) -> (n,)."""
        return -self.error(images).expand(len(images))


def default_monitor(program: nn.Module, guide: nn.Module | None, images: Tensor, seed: int) -> Monitor:
    """What a pair is trained for: the ELBO where there is a guide, else the exact log p(x), or (a baseline) the
    reconstruction."""
    if isinstance(program, NotADensity):
        return ReconstructionMonitor(images, program)
    if guide is None:
        return ExactMonitor(images, program)
    return ElboMonitor(images, program, guide, seed)
