"""Step rules: what one batch does to the weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ppl_models.errors import InvalidInput, nearest
from ppl_models.guides import Guide

from .estimators.base import MAX_ELEMENTS, evaluation_mode
from .measures.information import mixture
from .randomness import keyed_noise

if TYPE_CHECKING:
    from .loop import Loop


class StepRule(ABC):
    """What ``fit`` does with a batch. A subclass writes ``update``, from calls of ``loop.descend``.

    ``loop.descend(images, number, still=parameters)`` is one step of the optimizer on the objective's loss, in which
    ``still`` keep their values; it returns the loss.
    """

    name: str

    def start(self, loop: Loop) -> None:  # noqa: B027  a rule may have nothing to do
        """Told the loop before the first epoch: forget another training, refuse what cannot be trained."""

    @abstractmethod
    def update(self, loop: Loop, images: Tensor, number: int) -> float:
        """Learn from batch ``number`` of the epoch (n, D); returns the loss to be recorded."""

    def after_epoch(self, loop: Loop) -> dict[str, Any]:
        """Told the end of an epoch; returns what to add to its record."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs: plain values and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Continue from ``state_dict()``, or from the beginning where it is empty."""


class PlainStep(StepRule):
    """Program and guide together, one step of the optimizer per batch."""

    name = "plain"

    def update(self, loop: Loop, images: Tensor, number: int) -> float:
        """One step."""
        return loop.descend(images, number)


class AggressiveEncoder(StepRule):
    """The guide is trained ahead of the program, until its latents stop gaining information (He et al. 2019,
    1901.05534).

    Early in training the guide lags behind the posterior, and a strong decoder learns to ignore it. So in the
    aggressive phase each batch is preceded by steps of the guide alone, the first on this batch and the others on
    random ones, until the mean loss over a ``window`` of them is no lower than over the window before, or ``max_inner``
    of them are made; then the program alone takes one step on the batch. The phase ends after the first epoch in which
    the mutual information of x and z under q, on validation images, has not risen (``mutual_information``); from then
    on the two are trained together.

    The steps of the guide are updates like others: they count in the history, in the average of the weights and in an
    objective's schedule. The record of an epoch gains ``aggressive``, and in that phase ``inner_updates``,
    ``mutual_information`` and ``mutual_information_cap`` in nats: no estimate can exceed the logarithm of the number of
    images, and information that reaches it has stopped rising for that reason.

    Args:
        window: steps of the guide between two comparisons.
        max_inner: most steps of the guide per batch.
        num_images: most validation images for the mutual information, evenly spaced.

    Raises:
        InvalidInput: for counts below 1, a window longer than ``max_inner``, or fewer than 2 images. ``fit`` raises it
            for a pair without ``guide.posterior``, a program or guide without parameters, or no validation images.
    """

    name = "aggressive"

    def __init__(self, window: int = 10, max_inner: int = 100, num_images: int = 1000) -> None:
        if not 1 <= window <= max_inner:
            raise InvalidInput("--step.window", window, f"with max_inner {max_inner}", "give 1 to max_inner")
        if num_images < 2:
            raise InvalidInput("--step.num_images", num_images, "information needs other images", "give at least 2")
        self.window, self.max_inner, self.num_images = int(window), int(max_inner), int(num_images)
        self._forget()

    def _forget(self) -> None:
        self.aggressive, self.information, self.inner = True, -math.inf, 0

    def start(self, loop: Loop) -> None:
        """Begin the aggressive phase.

        Raises:
            InvalidInput: for a guide without ``posterior``, a program or guide without parameters, or no validation
                images.
        """
        self._forget()
        if not isinstance(loop.guide, Guide):
            kind = "none" if loop.guide is None else type(loop.guide).__name__
            problem = f"the guide ({kind}) has no posterior(x), which the mutual information is computed from"
            raise InvalidInput("--step", self.name, problem, "use plain")
        if loop.valid is None or len(loop.valid) < 2:
            problem = "there are no validation images, which end the aggressive phase"
            raise InvalidInput("--step", self.name, problem, "give validation images, or use plain")
        mine = {id(parameter) for parameter in loop.guide.parameters()}
        self.of_guide = [p for p in loop.objective.parameters() if id(p) in mine and p.requires_grad]
        self.of_program = [p for p in loop.objective.parameters() if id(p) not in mine and p.requires_grad]
        for whose, parameters in (("guide", self.of_guide), ("program", self.of_program)):
            if not parameters:
                problem = f"the {whose} has no parameters of its own to be trained"
                raise InvalidInput("--step", self.name, problem, "use plain")

    def update(self, loop: Loop, images: Tensor, number: int) -> float:
        """Steps of the guide, then one of the program; one of both after the aggressive phase."""
        if not self.aggressive:
            return loop.descend(images, number)
        self._train_guide(loop, images, number)
        return loop.descend(images, number, still=self.of_guide)

    def _train_guide(self, loop: Loop, images: Tensor, number: int) -> None:
        previous, total, seen = math.inf, 0.0, 0
        batch = images
        for inner in range(1, self.max_inner + 1):
            total += loop.descend(batch, number, still=self.of_program) * len(batch)
            seen += len(batch)
            self.inner += 1
            if inner % self.window == 0:
                if total / seen >= previous:
                    return
                previous, total, seen = total / seen, 0.0, 0
            batch = loop.random_batch()

    def after_epoch(self, loop: Loop) -> dict[str, Any]:
        """End the aggressive phase if the mutual information has not risen; it is what the record says."""
        if not self.aggressive:
            return {"aggressive": False}
        every = -(-len(loop.valid) // self.num_images)
        images = loop.valid[::every]
        information = mutual_information(loop.guide, images, loop.seed)
        record = {
            "aggressive": True,
            "inner_updates": self.inner,
            "mutual_information": information,
            "mutual_information_cap": math.log(len(images)),
        }
        # Written so that NaN ends the phase too.
        self.aggressive = information > self.information
        self.information, self.inner = information, 0
        return record

    def state_dict(self) -> dict[str, Any]:
        """The phase, and the mutual information after the last epoch."""
        return {"name": self.name, "aggressive": self.aggressive, "mutual_information": self.information}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict()``."""
        if state.get("name") == self.name:
            self.aggressive, self.information = state["aggressive"], state["mutual_information"]


def mutual_information(guide: Guide, images: Tensor, seed: int = 0, max_elements: int = 8 * MAX_ELEMENTS) -> float:
    """I(x; z) under q, nats: 1/N sum_n log q(z_n | x_n) - log 1/N sum_j q(z_n | x_j) with one z_n ~ q(z | x_n) each.

    It is the information of z about which of these N images it came from, at most log N (Hoffman & Johnson 2016). All N
    images stand in the inner sum, not those of a batch (``measures.information``). The noise is the same at every call
    with the same seed.

    Args:
        guide: q(z | x), evaluated in evaluation mode.
        images: (N, D).
        seed: of the draws.
        max_elements: bound on the elements of a chunk; it does not change the result.
    """
    with keyed_noise(seed, "mutual information", device=images.device), evaluation_mode(guide):
        z = guide.posterior(images).sample()
        owners = torch.arange(len(images), device=images.device)
        return float(mixture(guide, images, {"z": z}, owners, max_elements).lower.mean())


STEPS: dict[str, Callable[..., StepRule]] = {step.name: step for step in (PlainStep, AggressiveEncoder)}


def find_step(name: str) -> Callable[..., StepRule]:
    """The step rule of that name.

    Raises:
        InvalidInput: for an unknown one, with the nearest names.
    """
    if name not in STEPS:
        raise InvalidInput("--step", name, "unknown step rule", nearest(name, STEPS))
    return STEPS[name]
