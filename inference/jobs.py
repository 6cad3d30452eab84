"""A job: everything that decides the outcome of one training run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from ppl_models.autoencoder import REASON, NotADensity
from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram
from ppl_models.recipes import FROM_DATA, GIVEN_TO_GUIDES, find_recipe

from .data import ImageData
from .objectives import find_objective
from .run import commit, versions
from .training import Training, default_training
from .user_guides import source_of


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
        ordering_source: the name by which the ordering in ``recipe_arguments`` was found from the images, if it was.
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
    ordering_source: str | None = None

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


def describe_job(
    job: Job, objective: str, arguments: Mapping[str, Any], program: nn.Module, guide: GuideProgram | None
) -> dict[str, Any]:
    """The content of ``config.json`` (``docs/files.md``), the objective with its options."""
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
        "objective_arguments": complete("objective", find_objective(objective), arguments),
        "data": job.data.name,
        "data_digest": job.data.digest,
        **describe_data(job.data),
        "measure": getattr(program, "measure", "none"),
        "seed": job.seed,
        "training": {name: v for name, v in asdict(job.settings()).items() if name != "step_arguments" or v},
        "num_parameters": parameters,
        "versions": versions(),
        "commit": commit(),
    }
    if job.ordering_source is not None:
        config["ordering_source"] = job.ordering_source
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
