"""A job: everything that decides the outcome of one training run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from ppl_models.autoencoder import REASON, NotADensity
from ppl_models.errors import InvalidInput, nearest
from ppl_models.guides import GuideProgram
from ppl_models.recipes import FROM_DATA, GIVEN_TO_GUIDES, find_recipe

from .data import ImageData
from .objectives import find_objective
from .run import commit, versions
from .user_guides import source_of

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
        if not 0 <= self.average < 1:
            raise InvalidInput("--average", self.average, "a decay lies in [0, 1)", "give for example 0.99")
        if self.schedule not in SCHEDULES:
            raise InvalidInput("--schedule", self.schedule, "unknown schedule", f"use {' or '.join(SCHEDULES)}")

    def scheduler(self, optimizer: Optimizer) -> LRScheduler:
        """The learning-rate scheduler, stepped once per epoch."""
        return LambdaLR(optimizer, lambda epoch: SCHEDULES[self.schedule](epoch / self.epochs))


# A table of free log-odds has no layers whose steps must be small, and some of its entries have far to go.
LEARNING_RATES = {"independent_pixels": 0.05}


def default_training(recipe: str, num_images: int) -> Training:
    """The defaults for a recipe on so many images.

    Small sets take 150 epochs of batches of 50, large ones 40 of 100. How they were chosen, on validation images, is in
    ``docs/settings.md``.
    """
    settings = Training()
    if num_images >= LARGE:
        settings = Training(epochs=40, batch_size=100, learning_rate=1e-3, average=0.999, patience=10)
    return replace(settings, learning_rate=LEARNING_RATES.get(recipe, settings.learning_rate))


@dataclass(frozen=True)
class Job:
    """One run to be made.

    Args:
        recipe: name of the pair.
        data: the data set.
        out: the run folder.
        seed: of initial weights, shuffling and noise.
        recipe_arguments: the recipe's options.
        guide_class, guide_arguments: a guide in place of the recipe's own.
        objective, objective_arguments: in place of the pair's default.
        training: settings; those for the size of the data unless given.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    recipe: str
    data: ImageData
    out: Path
    seed: int = 0
    recipe_arguments: Mapping[str, Any] = field(default_factory=dict)
    guide_class: type[GuideProgram] | None = None
    guide_arguments: Mapping[str, Any] = field(default_factory=dict)
    objective: str | None = None
    objective_arguments: Mapping[str, Any] = field(default_factory=dict)
    training: Training | None = None
    device: str = "auto"

    def settings(self) -> Training:
        """The training settings."""
        return self.training or default_training(self.recipe, self.data.sizes["train"])

    def check(self) -> None:
        """Raise ``InvalidInput`` for a seed or settings that cannot train."""
        # Torch's generator on the CPU takes 32 bits of a seed: larger ones would repeat smaller ones.
        if not 0 <= self.seed < 2**32:
            raise InvalidInput("--seed", self.seed, "is no seed", "give a whole number from 0 to 2^32 - 1")
        self.settings().check()

    def with_seed(self, seed: int, out: Path) -> Job:
        """The same with another seed, elsewhere."""
        return replace(self, seed=seed, out=out)


def describe_data(data: ImageData) -> dict[str, Any]:
    """What a recipe and a config need to know of the data."""
    return {"data_dim": data.data_dim, "levels": data.levels, "shape": list(data.shape)}


def describe_job(job: Job, objective: str, program: nn.Module, guide: GuideProgram | None) -> dict[str, Any]:
    """The content of ``config.json`` (``docs/files.md``)."""
    parameters = {"program": sum(p.numel() for p in program.parameters())}
    parameters["guide"] = sum(p.numel() for p in guide.parameters()) if guide is not None else 0
    baseline = isinstance(program, NotADensity)
    config = {
        "format": 1,
        "recipe": job.recipe,
        "recipe_arguments": complete("recipe", find_recipe(job.recipe), job.recipe_arguments),
        "program": type(program.autoencoder if baseline else program).__name__,
        "latents": list(program.latents),
        "guide": type(guide).__name__ if guide is not None else None,
        "guide_source": source_of(job.guide_class) if job.guide_class is not None else None,
        "guide_arguments": complete("guide", job.guide_class, job.guide_arguments) if job.guide_class else {},
        "objective": objective,
        "objective_arguments": complete("objective", find_objective(objective), job.objective_arguments),
        "data": job.data.name,
        "data_digest": job.data.digest,
        **describe_data(job.data),
        "seed": job.seed,
        "training": asdict(job.settings()),
        "num_parameters": parameters,
        "versions": versions(),
        "commit": commit(),
    }
    return {**config, "refusal": REASON} if baseline else config


def complete(what: str, function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a recipe, guide or objective with its defaults filled in, as JSON gives them back.

    A run must be built as it was even after a default has changed. Defaults that JSON cannot hold are left out.

    Raises:
        InvalidInput: for an argument that JSON cannot hold.
    """
    parameters = inspect.signature(function).parameters.items()
    skip = GIVEN_TO_GUIDES if what == "guide" else FROM_DATA
    defaults = {name: p.default for name, p in parameters if p.default is not p.empty and name not in skip}
    written = {}
    for name, value in {**defaults, **given}.items():
        try:
            written[name] = json.loads(json.dumps(value))
        except TypeError as error:
            if name in given and value is not defaults.get(name):
                problem = "cannot be written to config.json"
                raise InvalidInput(f"--{what}.{name}", value, problem, "give numbers, text or lists") from error
    return written
