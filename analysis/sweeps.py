"""Sweeps of a study: what each point of a grid reached, means over its seeds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.collapse import read_collapse
from analysis.cures import COLLAPSED
from analysis.errors import Incomparable, InvalidInput
from analysis.evidence import read_evidence
from analysis.files import SCHEMA, check_keys
from analysis.runs import Study
from analysis.sides import best_values, check_all_comparable, in_short

_SWEEP = {"name": str, "recipe": str, "axes": dict, "points": list}
_POINT = {"values": dict, "runs": list}
# Quantity -> how a panel calls it.
QUANTITIES = {
    "rate": "rate R, nats",
    "active_units": "active units",
    "information_lower": "I(x; z) at least, nats",
    "log_evidence": "log p(x), nats",
}


@dataclass(frozen=True, eq=False)
class Point:
    """One point of a sweep.

    Attributes:
        values: option to value.
        seeds: how many runs are averaged.
        means: quantity to its mean over seeds, NaN where it is not known.
        spread: quantity to half the distance of the seeds' extremes.
        reading: estimator and claim of log p(x); empty without one.
        reason: why a run is not in the means; empty where all are.
    """

    values: Mapping[str, Any]
    seeds: int
    means: Mapping[str, float]
    spread: Mapping[str, float]
    reading: str
    reason: str


@dataclass(frozen=True, eq=False)
class SweepGrid:
    """One sweep: its axes in order, and its points by their values."""

    name: str
    recipe: str
    axes: Mapping[str, Sequence[Any]]
    fixed: Mapping[str, Any]
    points: tuple[Point, ...]

    @property
    def readings(self) -> list[str]:
        """The estimators, with their claims, that log p(x) comes from."""
        return sorted({point.reading for point in self.points if point.reading})

    @property
    def sides(self) -> tuple[str, str]:
        """The options along the rows and the columns of a map; the second is empty for one axis."""
        names = list(self.axes)
        return names[0], names[1] if len(names) > 1 else ""

    def slices(self) -> list[dict[str, Any]]:
        """The values of the axes beyond the second, one map each."""
        beyond = list(self.axes)[2:]
        return [dict(zip(beyond, v, strict=True)) for v in itertools.product(*(self.axes[name] for name in beyond))]

    def table(self, quantity: str, at: Mapping[str, Any]) -> np.ndarray:
        """(rows, columns) means of a quantity where the axes beyond the second are ``at``; NaN for missing points."""
        row, column = self.sides
        columns = self.axes[column] if column else [None]
        found = np.full((len(self.axes[row]), len(columns)), np.nan)
        for i, j in np.ndindex(*found.shape):
            wanted = {row: self.axes[row][i], **({column: columns[j]} if column else {}), **at}
            found[i, j] = next((p.means[quantity] for p in self.points if p.values == wanted), math.nan)
        return found


def read_sweeps(study: Study) -> list[SweepGrid]:
    """The sweeps that ``study.json`` names.

    Raises:
        InvalidInput: for a malformed entry or file of a run.
    """
    file, found = study.path / "study.json", []
    for entry in study.meta.get("sweeps", []):
        check_keys(file, entry, _SWEEP, where="sweeps: ")
        if not entry["axes"] or not all(isinstance(values, list) and values for values in entry["axes"].values()):
            raise InvalidInput(str(file), f"sweep {entry['name']}", "has an axis without values", f"see {SCHEMA}")
        for point in entry["points"]:
            check_keys(file, point, _POINT, where=f"sweep {entry['name']}: ")
        points = tuple(_point(study.path, point["values"], point["runs"]) for point in entry["points"])
        found.append(SweepGrid(entry["name"], entry["recipe"], entry["axes"], entry.get("fixed", {}), points))
    return found


def _point(path: Path, values: Mapping[str, Any], runs: Sequence[str]) -> Point:
    whole = [path / run for run in runs if all((path / run / name).exists() for name in ("collapse.nc", "evidence.nc"))]
    missing = [run for run in runs if path / run not in whole]
    reason = f"not finished: {', '.join(missing)}" if missing else ""
    rows: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    reading = ""
    if whole:
        collapse = [read_collapse(folder / "collapse.nc") for folder in whole]
        for name in ("rate", "active_units", "information_lower"):
            rows[name] = [found[name].value for found in collapse]
        try:
            reading, rows["log_evidence"] = _evidence(whole)
        except Incomparable as error:
            reason = f"{reason}; {error}".removeprefix("; ")
    means = {name: float(np.mean(values)) if values else math.nan for name, values in rows.items()}
    spread = {name: float(np.ptp(values)) / 2 if values else math.nan for name, values in rows.items()}
    return Point(values, len(whole), means, spread, reading, reason)


def _evidence(folders: Sequence[Path]) -> tuple[str, list[float]]:
    """The tightest reading of log p(x) that the runs share, and its mean over the images of each."""
    evidence = [read_evidence(folder / "evidence.nc") for folder in folders]
    check_all_comparable(evidence)
    values = best_values(*evidence)
    if values is None:
        raise Incomparable("its runs have no reading with a direction in common")
    return in_short(values[0].estimator, values[0].claim), [float(np.mean(each.nats)) for each in values]


def sweep_statement(grid: SweepGrid) -> str:
    """Where the code collapsed, and between which points the rate lies, computed."""
    known = [point for point in grid.points if not math.isnan(point.means["rate"])]
    if not known:
        return f"{grid.name}: no point is finished."
    low, high = (pick(known, key=lambda point: point.means["rate"]) for pick in (min, max))
    dead = sum(point.means["rate"] < COLLAPSED for point in known)
    return (
        f"{grid.name} ({grid.recipe}): the rate lies between {low.means['rate']:.2f} nats ({in_words(low.values)}) and "
        f"{high.means['rate']:.2f} ({in_words(high.values)}); it is below {COLLAPSED} at {dead} of {len(known)} points."
    )


def in_words(values: Mapping[str, Any]) -> str:
    """A point: ``window 3, depth 1``."""
    return ", ".join(f"{option} {value}" for option, value in values.items())
