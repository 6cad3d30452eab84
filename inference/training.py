"""How a pair is trained: the settings of a run, and their defaults by recipe and size of the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ppl_models.errors import InvalidInput, nearest

from .steps import StepRule, find_step

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: max(0.02, 1 - progress),
}

# Fabric's that hold for every program: images are float32, and weights and log-probabilities are in no less.
PRECISIONS = ("32-true", "bf16-mixed")

# From this many training images on, the defaults are those for large sets.
LARGE = 10_000


@dataclass(frozen=True)
class Training:
    """How a pair is trained. ``default_training`` gives what is used unless told otherwise.

    Args:
        epochs: passes over the training images.
        batch_size: images per update.
        learning_rate, weight_decay: of AdamW.
        schedule: of the learning rate over the epochs: ``"linear"`` (down to 2%) or ``"constant"``.
        average: decay of the weights' moving average, which is validated and kept; 0 for none.
        patience: epochs without improvement on validation; ``None`` never stops early.
        clip_norm: largest norm of the gradient.
        max_seconds: wall time after which no further epoch starts.
        precision: Fabric's, one of ``PRECISIONS``.
        step: what a batch does to the weights: ``"plain"``, or ``"aggressive"``, see ``inference.steps``.
        step_arguments: options of that rule, such as ``window``.
    """

    epochs: int = 150
    batch_size: int = 50
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    schedule: str = "linear"
    average: float = 0.99
    patience: int | None = 30
    clip_norm: float | None = None
    max_seconds: float | None = None
    precision: str = "32-true"
    step: str = "plain"
    step_arguments: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ``InvalidInput`` for settings that cannot train."""
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInput(f"--{name.replace('_', '-')}", value, "must be at least 1", "give a count")
        for name in ("learning_rate", "clip_norm", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidInput(
                    f"--{name.replace('_', '-')}",
                    value,
                    "must be positive",
                    "give for example 0.001",
                )
        if not self.weight_decay >= 0:
            raise InvalidInput("--weight-decay", self.weight_decay, "must not be negative", "give 0 for none")
        if self.precision not in PRECISIONS:
            known = nearest(self.precision, PRECISIONS)
            raise InvalidInput("--precision", self.precision, "unknown precision", known)
        self.step_rule()
        if not 0 <= self.average < 1:
            raise InvalidInput("--average", self.average, "a decay lies in [0, 1)", "give for example 0.99")
        if self.schedule not in SCHEDULES:
            raise InvalidInput("--schedule", self.schedule, "unknown schedule", f"use {' or '.join(SCHEDULES)}")

    def step_rule(self) -> StepRule:
        """The step rule, with its options.

        Raises:
            InvalidInput: for an unknown one, or options out of range.
        """
        return find_step(self.step)(**self.step_arguments)

    def scheduler(self, optimizer: Optimizer) -> LRScheduler:
        """The learning-rate scheduler, stepped once per epoch."""
        return LambdaLR(optimizer, lambda epoch: SCHEDULES[self.schedule](epoch / self.epochs))


# What recipes need instead, on small sets and on large ones. How it was chosen is in docs/settings.md.
OWN_SMALL: dict[str, dict[str, Any]] = {
    # A table of free log-odds has no layers whose steps must be small, and some of its entries have far to go.
    "independent_pixels": {"learning_rate": 0.05},
    # Nets whose epochs are long: on digits each stays below a minute.
    "pixel_rnn": {"epochs": 30},
    "pixel_cnn": {"epochs": 60},
    "gated_pixel_cnn": {"epochs": 40, "learning_rate": 5e-3},
    "pixel_transformer": {"epochs": 34},
    # Steps of 0.01 made the guide's covariance singular on binary digits, where float32 scores its own draws wrongly.
    "linear_vae": {
        "epochs": 1000,
        "batch_size": 200,
        "learning_rate": 5e-3,
        "patience": None,
        "clip_norm": 10.0,
    },
    "iwae": {"epochs": 40},
    "discrete_vae": {"epochs": 70},
    "recurrent_vae": {"epochs": 110},
    "conv_vae": {"epochs": 60},
    "pixel_vae": {"epochs": 60},
    "lossy_vae": {"epochs": 60},
}
OWN_LARGE: dict[str, dict[str, Any]] = {
    "independent_pixels": {"learning_rate": 0.05},
    # The problem is convex: long steps, and as many as it takes.
    "fvsbn": {"learning_rate": 3e-3, "batch_size": 200, "epochs": 60},
    "pixel_cnn": {"learning_rate": 2e-3, "clip_norm": 5.0},
    "gated_pixel_cnn": {"learning_rate": 2e-3, "clip_norm": 5.0},
    "pixel_transformer": {"clip_norm": 5.0},
}


# Recipes that are an objective as much as a pair: what they are trained with unless told otherwise, and its options.
OWN_OBJECTIVE: dict[str, tuple[str, dict[str, Any]]] = {
    "iwae": ("iwae", {"num_particles": 50}),
    # Its guide can express the posterior, where this gradient has no noise of its own.
    "linear_vae": ("iwae", {"num_particles": 1, "gradient": "stl"}),
    # The ELBO alone collapses it on one seed of three, a warm-up of the KL on two: see docs/settings.md.
    "lossy_vae": ("released", {"free_bits": 8.0, "hold": 700, "release": 300}),
    # From the first update on the whole KL of both layers leaves two seeds of three with half a code.
    "ladder_vae": ("elbo", {"schedule": "linear", "updates": 1000}),
    # Nothing but the decoder keeps an early guide from drowning its code in noise: the prior follows it.
    "vae_vamp": ("elbo", {"schedule": "linear", "updates": 1000}),
}


def default_training(recipe: str, num_images: int) -> Training:
    """The defaults for a recipe on so many images.

    Small sets take 150 epochs of batches of 50, large ones 40 of 100; some recipes have settings of their own. How they
    were chosen, on validation images, is in ``docs/settings.md``.
    """
    if num_images < LARGE:
        return replace(Training(), **OWN_SMALL.get(recipe, {}))
    settings = Training(epochs=40, batch_size=100, learning_rate=1e-3, average=0.999, patience=10)
    return replace(settings, **OWN_LARGE.get(recipe, {}))
