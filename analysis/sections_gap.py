"""Section of a report: the gap of the ELBO by guide, the family's part and the encoder's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.gap import GapSplit, read_gap
from analysis.gap_verdicts import Contestant, GapVerdict, judge_gaps
from analysis.plots_gap import bars_figure, scatter_figure
from analysis.runs import Member, Study
from analysis.sides import converged_side
from analysis.statistics import mean_and_stderr
from analysis.style import Picture, as_picture, house_style

MEASURED = (
    "elbo", "gap_lower", "gap_upper", "amortization_gap_lower", "approximation_gap_upper",
    "approximation_gap_if_converged",
)  # fmt: skip


@dataclass(frozen=True)
class GapRow:
    """One member: means over images of the means over its seeds, each with its standard error over images.

    Attributes:
        member, guide, program: names.
        seeds, images: how many.
        means: name of a quantity to (mean, standard error), NaN where it is not known.
        closed_form: the family's gap by theory, mean over seeds; NaN where there is none.
        lower_source, upper_source: the sides of log p(x).
        spread: median over images and seeds of how far apart the starts of the search ended, nats.
        kept: share of images on which nothing better than the guide as trained was found.
        monte_carlo: standard error of the amortization gap's mean from the noise of its own draws alone.
    """

    member: str
    guide: str
    program: str
    seeds: int
    images: int
    means: dict[str, tuple[float, float]]
    closed_form: float
    lower_source: str
    upper_source: str
    spread: float
    kept: float
    monte_carlo: float


@dataclass(frozen=True)
class GapFindings:
    """All that the section shows."""

    rows: list[GapRow]
    verdicts: list[GapVerdict]
    left_out: list[str]
    bars: Picture | None
    scatter: Picture | None


def gap_findings(study: Study) -> GapFindings:
    """Table, verdicts and pictures of the members that have ``gap.nc``."""
    found, left_out = contestants(study)
    pictures: list[Picture | None] = [None, None]
    if found:
        with house_style():
            bars = as_picture(bars_figure(found), "Gap of the ELBO by guide, the encoder's part and the family's")
            scatter = as_picture(scatter_figure(found), "Approximation and amortization gap per image")
        pictures = [bars, scatter]
    return GapFindings([_row(entry, study) for entry in found], judge_gaps(found), left_out, *pictures)


def contestants(study: Study) -> tuple[list[Contestant], list[str]]:
    """The members with splits over the same images by the same sides of log p(x), and why others are left out."""
    found, left_out = [], []
    for member in study.members:
        runs = [run for run in member.runs if (run.path / "gap.nc").exists()]
        if not runs:
            continue
        splits = tuple(read_gap(run.path / "gap.nc") for run in runs)
        if not alike(splits):
            left_out.append(f"{member.name}: its seeds are split over different images, or by different estimators")
            continue
        evidence = [run.evidence for run in runs if run.evidence is not None]
        annealed = len(evidence) == len(runs) and splits[0].is_annealed and converged_side(*evidence) is not None
        found.append(Contestant(member.name, splits, annealed))
    return found, left_out


def alike(splits: Sequence[GapSplit]) -> bool:
    """Whether splits may be averaged: same program, data and images, log p(x) by the same estimators."""
    first = splits[0]
    key = (first.identity, first.lower_source, first.upper_source, first.images.tolist())
    return all((s.identity, s.lower_source, s.upper_source, s.images.tolist()) == key for s in splits)


def gap_lines(study: Study) -> list[str]:
    """The verdicts for the terminal, those that say something; the rest as a count."""
    verdicts = judge_gaps(contestants(study)[0])
    said = [f"gap: {verdict.sentence}" for verdict in verdicts if verdict.smaller]
    left = len(verdicts) - len(said)
    return [*said, f"gap: {left} of {len(verdicts)} comparisons are undecided"] if verdicts else []


def _row(entry: Contestant, study: Study) -> GapRow:
    first = entry.splits[0]
    errors = np.array([split.stderr["amortization_gap_lower"] for split in entry.splits])
    return GapRow(
        member=entry.name,
        guide=first.guide,
        program=str(_member(study, entry.name).runs[0].config["program"]),
        seeds=len(entry.splits),
        images=first.images.size,
        means={name: mean_and_stderr(entry.mean(name)) for name in MEASURED},
        closed_form=float(np.mean([split.closed_form for split in entry.splits])),
        lower_source=first.lower_source,
        upper_source=first.upper_source,
        spread=float(np.median([split.spread_of_starts for split in entry.splits])),
        kept=float(np.mean([split.chosen == 0 for split in entry.splits])),
        monte_carlo=float(np.sqrt((errors**2).sum()) / errors.size),
    )


def _member(study: Study, name: str) -> Member:
    return next(member for member in study.members if member.name == name)
