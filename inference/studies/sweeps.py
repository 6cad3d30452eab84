"""Sweeps: one recipe over a grid of its options, as a TOML or JSON file or built into a study."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ppl_models.errors import InvalidInput, nearest
from ppl_models.recipes import find_recipe, parameters_of

from ..estimators.names import check_name
from ..objectives import find_objective
from ..training import Training
from .members import Member

# Where a study keeps the runs of its sweeps.
FOLDER = "sweeps"
ESTIMATORS = ("iw:200",)
KEYS = ("name", "recipe", "axes", "fixed", "seeds", "objective", "estimators")
REMEDY = "write for example [[sweep]] name = 'decoder', recipe = 'lossy_vae', [sweep.axes] window = [1, 3]"


@dataclass(frozen=True)
class Sweep:
    """A grid over options of one recipe, of its objective and of its training.

    Args:
        name: its folder and its heading.
        recipe: what is trained at every point.
        axes: option -> its values. An option is the recipe's, a training setting or the objective's, looked for in
            this order; ``recipe.``, ``training.`` or ``objective.`` before it says which.
        fixed: options that are the same at all points.
        seeds: only the first so many of the study's seeds; ``None`` for all.
        objective: what is minimised; the divergence's weight ``beta`` is an option of ``elbo``.
        estimators: what every point is scored by, beside the measures of collapse.

    Raises:
        InvalidInput: for an unknown recipe, objective, estimator or option (the nearest names are given), a name that
            is no folder, or an axis without values or with one value twice. Whether a value suits the recipe is said
            of its point, when it is made.
    """

    name: str
    recipe: str
    axes: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | None = None
    objective: str = "elbo"
    estimators: Sequence[str] = ESTIMATORS

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[\w-]+", self.name):
            raise InvalidInput("name", self.name, "is no name of a folder", "use letters, digits, - and _")
        for key in ("recipe", "objective"):
            if not isinstance(getattr(self, key), str):
                raise InvalidInput(key, getattr(self, key), "must be one name", f"a sweep has one {key}")
        self._check_options()
        if self.seeds is not None and (type(self.seeds) is not int or self.seeds < 1):
            raise InvalidInput("seeds", self.seeds, "must be at least 1", "give how many of the study's seeds")
        self._check_estimators()

    def _check_options(self) -> None:
        if not isinstance(self.axes, Mapping) or not self.axes:
            raise InvalidInput("axes", self.axes, "a sweep needs an axis", REMEDY)
        if not isinstance(self.fixed, Mapping):
            raise InvalidInput("fixed", self.fixed, "must be a table of options", "write [sweep.fixed] epochs = 30")
        for option, values in self.axes.items():
            self.place(option)
            if not isinstance(values, Sequence) or isinstance(values, str) or not values:
                raise InvalidInput(f"axes.{option}", values, "must be a list of values", REMEDY)
            if len({json.dumps(value) for value in values}) < len(values):
                raise InvalidInput(f"axes.{option}", list(values), "has a value twice", "give each value once")
        for option in self.fixed:
            self.place(option)
            if option in self.axes:
                raise InvalidInput(f"fixed.{option}", self.fixed[option], "is an axis too", "give it once")

    def _check_estimators(self) -> None:
        if isinstance(self.estimators, str) or not isinstance(self.estimators, Sequence) or not self.estimators:
            raise InvalidInput("estimators", self.estimators, "must be a list of names", "write ['iw:200']")
        for estimator in self.estimators:
            check_name(str(estimator))

    def place(self, option: str) -> tuple[str, str]:
        """Whose option it is, ``recipe``, ``training`` or ``objective``, and its name there."""
        known = {
            "recipe": list(parameters_of(find_recipe(self.recipe))),
            "training": [each.name for each in fields(Training)],
            "objective": list(parameters_of(find_objective(self.objective))),
        }
        for given in ("data_dim", "levels", "shape", "program", "guide"):
            known = {owner: [name for name in names if name != given] for owner, names in known.items()}
        owner, _, name = option.partition(".")
        if name and name in known.get(owner, ()):
            return owner, name
        for owner, names in known.items():
            if option in names:
                return owner, option
        problem = f"is no option of {self.recipe}, its training or its objective {self.objective}"
        raise InvalidInput("sweep parameter", option, problem, nearest(option, set().union(*known.values())))

    def points(self) -> list[dict[str, Any]]:
        """The grid, the last axis fastest."""
        return [dict(zip(self.axes, values, strict=True)) for values in itertools.product(*self.axes.values())]

    def member(self, point: Mapping[str, Any]) -> Member:
        """What is trained at a point."""
        options: dict[str, dict[str, Any]] = {"recipe": {}, "training": {}, "objective": {}}
        for option, value in {**self.fixed, **point}.items():
            owner, name = self.place(option)
            options[owner][name] = value
        return Member(
            f"{FOLDER}/{self.name}/{folder_of(point)}", self.recipe, self.estimators, samples=0, seeds=self.seeds,
            recipe_arguments=options["recipe"], objective=self.objective, objective_arguments=options["objective"],
            training=options["training"],
        )  # fmt: skip

    def members(self) -> list[Member]:
        """All points."""
        return [self.member(point) for point in self.points()]

    def as_json(self, seeds: Sequence[int]) -> dict[str, Any]:
        """Its entry of ``study.json``."""
        points = [
            {"values": point, "runs": list(self.member(point).folders(seeds).values())} for point in self.points()
        ]
        axes = {option: list(values) for option, values in self.axes.items()}
        return {"name": self.name, "recipe": self.recipe, "axes": axes, "fixed": dict(self.fixed), "points": points}


def folder_of(point: Mapping[str, Any]) -> str:
    """The folder of a point: ``window-3--beta-0.5``."""
    return "--".join(re.sub(r"[^\w.-]+", "_", f"{option}-{value}") for option, value in point.items())


def read_sweeps(path: Path) -> list[Sweep]:
    """The sweeps of a file: TOML with ``[[sweep]]`` tables, or JSON with the same under ``"sweep"``.

    Raises:
        InvalidInput: if it is not there, neither of the two, or holds something else than sweeps.
    """
    try:
        text = path.read_text()
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("--sweep", str(path), "cannot be read", "name a TOML or JSON file") from error
    except ValueError as error:
        raise InvalidInput("--sweep", str(path), f"is no TOML or JSON: {error}", REMEDY) from error
    entries = content.get("sweep") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInput("--sweep", str(path), "holds no sweeps", REMEDY)
    other = next((key for key in content if key != "sweep"), None)
    if other is not None:
        raise InvalidInput("--sweep", other, "is unknown beside the sweeps", nearest(other, ["sweep"]))
    sweeps = [_sweep(entry) for entry in entries]
    names = [sweep.name for sweep in sweeps]
    if len(set(names)) < len(names):
        raise InvalidInput("--sweep", names, "has one name twice", "give each sweep its own")
    return sweeps


def _sweep(entry: Mapping[str, Any]) -> Sweep:
    for key in entry:
        if key not in KEYS:
            raise InvalidInput("sweep key", key, "is unknown", nearest(key, KEYS))
    for key in ("name", "recipe", "axes"):
        if key not in entry:
            raise InvalidInput("sweep key", key, "is missing", REMEDY)
    return Sweep(**entry)


# Free runs in the window or the depth of a decoder are what makes it strong; see docs/collapse.md.
LOSSY = {"prior": "standard-normal", "hidden": [64, 64], "context": 4, "dropout": 0.0, "learning_rate": 5e-3}


def built_in(budget: str, side: int) -> list[Sweep]:
    """The sweeps of the study: the window and the depth of the decoder, and latent size against beta.

    Args:
        budget: ``"quick"`` or ``"full"``.
        side: height or width of the images, the larger: a window of 2 side - 1 pixels sees all of an image.
    """
    full = 2 * side - 1
    quick = budget == "quick"
    windows = [1, 3, full] if quick else [1, 3, 5, 7, full]
    seeds = 1 if quick else None
    return [
        Sweep("decoder", "lossy_vae", {"window": sorted({w for w in windows if w <= full}), "depth": [1, 2] if quick
              else [1, 2, 4]}, {**LOSSY, "epochs": 30 if quick else 60, "patience": None}, seeds),
        Sweep("code", "vae", {"latent_dim": [2, 8, 32] if quick else [2, 4, 8, 16, 32, 64],
              "beta": [0.25, 1.0, 4.0] if quick else [0.25, 0.5, 1.0, 2.0, 4.0]},
              {"hidden": [100, 100], "epochs": 40 if quick else 150, "patience": None}, seeds),
    ]  # fmt: skip
