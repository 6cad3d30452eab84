"""Sections about the guide: is it calibrated, and does it agree with NUTS?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from analysis.calibration import Calibration, SimulatedRow, read_calibration, sentences, simulated_rows
from analysis.plots_calibration import calibration_figure
from analysis.plots_posterior import intervals_figure, most_different, pair_figure
from analysis.posterior import ImageVerdict, compare, judge_images, read_posterior
from analysis.runs import Member, Run, Study
from analysis.style import Picture, as_picture, house_style
from analysis.table import HIGH_PARETO_K

_IMAGES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class CalibrationEntry:
    """One run's calibration: what it says in words, drawn, and its bounds on simulated images."""

    title: str
    calibration: Calibration
    sentences: list[str]
    picture: Picture
    rows: list[SimulatedRow]


@dataclass(frozen=True)
class TailRow:
    """Pareto k-hat of one run's importance weights: median and share above .7 over images."""

    title: str
    estimator: str
    num_images: int
    median_k: float
    share_high_k: float


@dataclass(frozen=True)
class PosteriorEntry:
    """One run's NUTS posteriors beside its guide: a verdict and the numbers of every image, and the first few drawn."""

    title: str
    verdicts: list[ImageVerdict]
    numbers: list[tuple[int, list[dict[str, object]]]]
    pictures: list[tuple[Picture, Picture]]
    num_chains: int
    num_draws: int
    hidden: int


def calibrations(study: Study) -> list[CalibrationEntry]:
    """Every run that has ``calibration.nc``."""
    entries = []
    for title, run in _runs_with(study, "calibration.nc"):
        found = read_calibration(run.path / "calibration.nc")
        with house_style():
            picture = as_picture(calibration_figure(found, title), f"Ranks and coverage of {title}")
        entries.append(CalibrationEntry(title, found, sentences(found), picture, simulated_rows(found)))
    return entries


def weight_tails(study: Study) -> list[TailRow]:
    """Pareto k-hat of every run and estimator that has it."""
    rows = []
    for member, run in _runs(study):
        for values in run.evidence.numbers if run.evidence is not None else ():
            k = values.pareto_k[~np.isnan(values.pareto_k)]
            if k.size:
                share = float(np.mean(k > HIGH_PARETO_K))
                rows.append(TailRow(_title(member, run), values.estimator, k.size, float(np.median(k)), share))
    return rows


def posteriors(study: Study) -> list[PosteriorEntry]:
    """Every run that has ``posterior.nc``."""
    entries = []
    for title, run in _runs_with(study, "posterior.nc"):
        found = read_posterior(run.path / "posterior.nc")
        table = compare(found)
        images = [int(image) for image in table["image"].values]
        pictures = []
        for image in images[:_IMAGES_SHOWN]:
            with house_style():
                intervals = intervals_figure(found, table, image)
                pairs = pair_figure(found, image, most_different(table, image))
                left = as_picture(intervals, f"NUTS and guide per latent, image {image}")
                pictures.append((left, as_picture(pairs, f"Pairs of latents, image {image}", raster=True)))
        sizes, hidden = found.draws.sizes, len(images) - len(pictures)
        verdicts = judge_images(table)
        numbers = [(image, latent_rows(table.sel(image=image))) for image in images]
        entries.append(PosteriorEntry(title, verdicts, numbers, pictures, sizes["chain"], sizes["draw"], hidden))
    return entries


def latent_rows(row: xr.Dataset) -> list[dict[str, object]]:
    """The comparison of one image, a mapping of column to number per latent."""
    columns = {str(name): column.values for name, column in row.data_vars.items() if column.dims == ("latent",)}
    names = [str(name) for name in row["latent"].values]
    return [{"latent": name} | {key: float(v[i]) for key, v in columns.items()} for i, name in enumerate(names)]


def _runs(study: Study) -> Iterator[tuple[Member, Run]]:
    yield from ((member, run) for member in study.members for run in member.runs)


def _runs_with(study: Study, name: str) -> Iterator[tuple[str, Run]]:
    yield from ((_title(member, run), run) for member, run in _runs(study) if (run.path / name).exists())


def _title(member: Member, run: Run) -> str:
    return f"{member.name}, seed {run.seed}"
