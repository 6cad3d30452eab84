"""Section of a report: lower and upper bounds on images simulated from each program."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.plots_sandwich import width_figure
from analysis.runs import Study
from analysis.sandwich import Rung, rungs
from analysis.style import Picture, as_picture, house_style, member_colours


@dataclass(frozen=True)
class SandwichRow:
    """One sandwich of one run: the member, its seed, and the bounds."""

    member: str
    seed: int
    rung: Rung


@dataclass(frozen=True)
class SandwichFindings:
    """The table, whether log p(x) itself is known in it, and the plot, which takes two numbers of temperatures."""

    rows: list[SandwichRow]
    has_exact: bool
    picture: Picture | None


def sandwich_findings(study: Study) -> SandwichFindings:
    """All sandwiches of a study."""
    ladders = [
        (member.name, run.seed, ladder)
        for member in study.members
        for run in member.runs
        if run.sandwich is not None and (ladder := rungs(run.sandwich))
    ]
    rows = [SandwichRow(name, seed, rung) for name, seed, ladder in ladders for rung in ladder]
    has_exact = any(row.rung.lower_error[0] == row.rung.lower_error[0] for row in rows)
    picture = None
    if any(len(ladder) > 1 for _, _, ladder in ladders):
        colours = member_colours([member.name for member in study.members])
        with house_style():
            figure = width_figure([(name, ladder) for name, _, ladder in ladders], colours)
            picture = as_picture(figure, "Width of the sandwich against the number of temperatures")
    return SandwichFindings(rows, has_exact, picture)
