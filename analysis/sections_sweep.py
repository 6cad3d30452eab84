"""Sections of a report on what makes a code collapse: the linear program against its theory, and the sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.linear_theory import LinearTheory, linear_statements, linear_theories
from analysis.plots_sweep import linear_figure, sweep_figure
from analysis.runs import Study
from analysis.style import Picture, as_picture, house_style
from analysis.sweeps import Point, SweepGrid, in_words, read_sweeps, sweep_statement


@dataclass(frozen=True, eq=False)
class LinearEntry:
    """The linear program on one set of images, with its verdict and its picture."""

    theory: LinearTheory
    statements: list[str]
    picture: Picture


@dataclass(frozen=True, eq=False)
class SweepEntry:
    """One sweep, with its verdict, a picture per slice, and the points that are not whole."""

    grid: SweepGrid
    statement: str
    pictures: list[Picture]
    left_out: list[tuple[str, str]]
    rows: list[tuple[str, Point]]


def linear_entries(study: Study) -> tuple[list[LinearEntry], list[str]]:
    """The linear program on all that the study trained it on, and the folders that lack it."""
    theories, missing = linear_theories(study)
    entries = []
    for theory in theories:
        with house_style():
            alt = f"Predicted and measured variance of posterior means on {theory.data}, and the collapsed point"
            entries.append(LinearEntry(theory, linear_statements(theory), as_picture(linear_figure(theory), alt)))
    return entries, missing


def sweep_entries(study: Study) -> list[SweepEntry]:
    """All sweeps of the study."""
    entries = []
    for grid in read_sweeps(study):
        with house_style():
            alt = f"Heat maps of the sweep {grid.name}"
            pictures = [as_picture(sweep_figure(grid, at), alt) for at in grid.slices()]
        left_out = [(in_words(point.values), point.reason) for point in grid.points if point.reason]
        rows = [(in_words(point.values), point) for point in grid.points]
        entries.append(SweepEntry(grid, sweep_statement(grid), pictures, left_out, rows))
    return entries


def sweep_lines(linear: Sequence[LinearEntry], sweeps: Sequence[SweepEntry]) -> list[str]:
    """The verdicts on theory and sweeps for the terminal."""
    said = [(f"{entry.theory.data}: ", sentence) for entry in linear for sentence in entry.statements]
    lines = [f"theory: {data}{sentence.removeprefix(data)}" for data, sentence in said]
    return [*lines, *(f"sweep: {entry.statement}" for entry in sweeps)]
