"""The sandwich: a lower and an upper bound on log p(x) for the same images, which the program itself simulated."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr
from torch import Tensor, nn

from ppl_models.guides import GuideProgram
from ppl_models.program import HasLogProb

from .estimators import AnnealedImportance, AnnealingOptions, Estimate, Exact, ReverseAnnealedImportance
from .evidence_file import Row, attributes, check_identity, has_answer, read_evidence, write_evidence
from .run import Run
from .simulate import Simulated, simulate

SANDWICH, SIMULATED = "sandwich.nc", "simulated"
NUM_IMAGES = 200


@dataclass(frozen=True)
class Sandwich:
    """log p(x) of simulated images, bracketed.

    Attributes:
        simulated: the images with their latents.
        lower: forward annealing; claim ``LOWER_BOUND``.
        upper: reverse annealing; claim ``UPPER_BOUND``.
        exact: log p(x) itself, where the program has it.
        num_temperatures, num_chains: T and K.
        settings: what else the bounds depend on, in words.
        seconds: wall time of forward, reverse and exact pass.
    """

    simulated: Simulated
    lower: Estimate
    upper: Estimate
    exact: Estimate | None
    num_temperatures: int
    num_chains: int
    settings: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def width(self) -> tuple[float, float]:
        """Mean over images of upper minus lower bound, and its standard error, in nats."""
        return mean_and_error(self.upper.values - self.lower.values)

    @property
    def rows(self) -> list[Row]:
        """As lines of ``sandwich.nc``."""
        found = {f"ais:{self.num_temperatures}": self.lower, f"bdmc:{self.num_temperatures}": self.upper}
        if self.exact is not None:
            found["exact"] = self.exact
        return [
            Row(
                name,
                0 if name == "exact" else self.num_chains,
                estimate,
                seconds=self.seconds.get(name, math.nan),
                settings="" if name == "exact" else self.settings,
            )
            for name, estimate in found.items()
        ]

    def __str__(self) -> str:
        """Lower bound, upper bound and width with their standard errors over images."""
        lower, upper = mean_and_error(self.lower.values), mean_and_error(self.upper.values)
        return (
            f"on {len(self.simulated)} simulated images log p(x) lies between {lower[0]:.3f} ± {lower[1]:.3f} and "
            f"{upper[0]:.3f} ± {upper[1]:.3f} nats: width {self.width[0]:.3f} ± {self.width[1]:.3f} (s.e.)"
        )


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean over images and its standard error, NaN for one image."""
    values = values.double()
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else math.nan
    return values.mean().item(), error


def sandwich(
    program: nn.Module,
    guide: GuideProgram | None = None,
    num_images: int = NUM_IMAGES,
    num_temperatures: int = 1000,
    num_chains: int = 16,
    *,
    seed: int = 0,
    simulated: Simulated | None = None,
    state_folder: Path | None = None,
    **options: Any,
) -> Sandwich:
    """Bidirectional Monte Carlo (Grosse et al. 2015, 1511.02543; Wu et al. 2017, 1611.04273): how far from converged is
    annealed importance sampling for this program?

    Images are simulated with their latents, and forward and reverse annealing run on the same ones along the same
    frozen path. In expectation lower <= log p(x) <= upper, so that the width bounds the error of both. It says nothing
    certain about given images, on which only the lower bound exists.

    Args:
        program: any program with continuous latents.
        guide: where the path starts; the prior if ``None``.
        num_images: how many images to simulate.
        num_temperatures, num_chains: T and K.
        seed: of the simulation and of the chains.
        simulated: images simulated before, instead.
        state_folder: where an interrupted run is kept, to go on with the same call.
        options: ``schedule``, ``num_leapfrog``, ``progress``, ``max_elements``; see ``AnnealedImportance``.

    Raises:
        InvalidInput: for a program without continuous latents, or numbers below 1.
        NonFiniteError: if a weight is NaN or +infinity.
    """
    passes = {
        cls.stem: cls(
            num_temperatures, num_chains, guide, seed=seed, state_path=state_file(state_folder, cls.stem), **options
        )
        for cls in (AnnealedImportance, ReverseAnnealedImportance)
    }
    passes["ais"].check(program)
    drawn = simulate(program, num_images, seed) if simulated is None else simulated
    estimates, seconds = {}, {}
    for stem, estimator in passes.items():
        start = time.monotonic()
        estimates[stem] = estimator(program, drawn.x if stem == "ais" else drawn)
        seconds[estimator.name] = time.monotonic() - start
    exact = Exact()(program, drawn.x) if isinstance(program, HasLogProb) else None
    return Sandwich(
        drawn, estimates["ais"], estimates["bdmc"], exact, num_temperatures, num_chains, passes["ais"].settings, seconds
    )


def state_file(folder: Path | None, stem: str) -> Path | None:
    """Where an interrupted pass on simulated images is kept."""
    return None if folder is None else folder / f"sandwich-{stem}.state"


def write_sandwich(folder: Path, found: Sandwich, attrs: Mapping[str, Any], *, overwrite: bool = False) -> xr.Dataset:
    """Merge a sandwich into ``sandwich.nc`` and return what it then holds.

    Args:
        folder: of the run.
        found: the bounds.
        attrs: as of ``evidence.nc``; the split is ``simulated`` here, and ``simulation_seed`` is added.
        overwrite: whether to forget what is there.

    Raises:
        InvalidInput: if the file is of another program or another simulation.
    """
    index = range(len(found.simulated))
    return write_evidence(folder / SANDWICH, found.rows, index, sandwich_attributes(attrs), overwrite=overwrite)


def sandwich_of_run(
    run: Run, temperatures: Sequence[int], options: AnnealingOptions, *, overwrite: bool = False,
    resume: bool = False, progress: bool = False,
) -> xr.Dataset:  # fmt: skip
    """Simulate images from a run's program by its seed, bracket them with each number of temperatures, and write
    ``sandwich.nc``. ``resume`` keeps the numbers of temperatures that are there by the same settings.

    Raises:
        InvalidInput: if the file holds numbers of another program.
        NonFiniteError: if a weight is NaN or +infinity.
    """
    attrs, path, seed = attributes(run.config, SIMULATED, run.epoch), run.path / SANDWICH, run.config["seed"]
    if path.is_file() and not overwrite:
        check_identity(path, read_evidence(path).attrs, attrs)
    guide = run.guide if options.start == "guide" else None
    drawn = simulate(run.program, options.simulated, seed)
    keep = resume and not overwrite
    asked = [number for number in temperatures if not (keep and has_bracket(run, path, attrs, number, options))]
    for position, number in enumerate(asked):
        found = sandwich(
            run.program, guide, num_temperatures=number, num_chains=options.chains, seed=seed, simulated=drawn,
            state_folder=run.path, schedule=options.schedule, num_leapfrog=options.leapfrog, progress=progress,
        )  # fmt: skip
        write_sandwich(run.path, found, attrs, overwrite=overwrite and not position)
    return read_evidence(path)


def has_bracket(run: Run, path: Path, attrs: Mapping[str, Any], number: int, options: AnnealingOptions) -> bool:
    """Whether a file holds both bounds of a number of temperatures already, on as many images, by the same settings."""
    seed, index = run.config["seed"], range(options.simulated)
    passes = (
        options.build(cls, number, run.program, run.guide, seed)
        for cls in (AnnealedImportance, ReverseAnnealedImportance)
    )
    return all(has_answer(path, attrs, estimator, index) for estimator in passes)


def sandwich_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of ``sandwich.nc`` from those of ``evidence.nc``: the images are simulated by the run's seed."""
    return {**attrs, "split": SIMULATED, "simulation_seed": attrs["seed"]}
