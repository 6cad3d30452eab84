"""Plots of evidence: the forest of claims, and the gap between ELBO and importance-weighted bound per image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import OffsetFrom
from matplotlib.ticker import MaxNLocator

from analysis.claims import Claim
from analysis.errors import Incomparable
from analysis.evidence import Evidence, Values, check_comparable, common_images
from analysis.readings import elbo_values
from analysis.runs import Study
from analysis.sides import in_short
from analysis.statistics import mean_and_stderr
from analysis.style import (
    CLAIM_COLOUR,
    CLAIM_MARKER,
    INK,
    MUTED,
    RULE,
    light_grid,
    new_figure,
)
from analysis.table import ClaimRow, table_of_claims

INFINITE = "\N{MINUS SIGN}\N{INFINITY}"


def evidence_forest(study: Study) -> Figure | None:
    """Mean log p(x) per member and estimator, nats per image, with the claim as shape, colour and arrow.

    Left: means over test images with one standard error over images; arrows point to where the truth lies; small dots
    are the seeds. Right: the same numbers as paired differences to the reference (the first exact row, else the first),
    whose standard error leaves out what images have in common. A row whose mean is not finite keeps its label, which
    says so, and gets no mark. ``None`` if there is no finite number.
    """
    rows = [row for row in table_of_claims(study) if row.claim.is_number]
    finite = [row for row in rows if math.isfinite(row.mean)]
    if not finite:
        return None
    figure = new_figure(9.6, 1.9 + 0.42 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, row in enumerate(rows):
        if row not in finite:
            continue
        _mark(left, row.mean, row.stderr, place, row.claim)
        jitter = place + 0.27
        left.scatter(row.seed_means, [jitter] * len(row.seed_means), s=7, color=MUTED, alpha=0.8, lw=0)
    reference = next((row for row in finite if row.claim is Claim.EXACT), finite[0])
    _differences(right, study, rows, reference)
    _label_rows(left, rows)
    left.set_xlabel("mean log p(x), nats per image, higher is better\n(bar: one s.e. over images; dots: seeds)")
    right.set_xlabel(
        f"paired difference, nats, to {reference.member}\n"
        f"({in_short(reference.estimator, reference.claim)}; bar: one s.e. over images)"
    )
    for axes in (left, right):
        light_grid(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    figure.legend(handles=_claim_legend({row.claim for row in rows}), loc="outside upper left", ncols=3)
    return figure


def _mark(axes: Axes, mean: float, stderr: float, place: float, claim: Claim) -> None:
    """One point with its error bar and, for a bound, an arrow to the side where log p(x) lies."""
    colour = CLAIM_COLOUR[claim]
    error = None if math.isnan(stderr) else stderr
    axes.errorbar(mean, place, xerr=error, fmt=CLAIM_MARKER[claim], color=colour, ms=6.5, lw=1.6, capsize=0)
    direction = {Claim.LOWER_BOUND: 1, Claim.UPPER_BOUND: -1}.get(claim)
    if direction:
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.1, "mutation_scale": 8, "shrinkA": 0}
        axes.annotate(
            "",
            xy=(26 * direction, -7),
            xytext=(4 * direction, -7),
            xycoords=_offset_from(axes, mean, place),
            textcoords=_offset_from(axes, mean, place),
            arrowprops=arrow,
        )


def _offset_from(axes: Axes, x: float, y: float) -> OffsetFrom:
    """Coordinates in points from a data point."""
    anchor = axes.plot([x], [y], alpha=0)[0]
    return OffsetFrom(anchor, (0.5, 0.5), unit="points")


def _differences(axes: Axes, study: Study, rows: list[ClaimRow], reference: ClaimRow) -> None:
    """Paired differences of every row to the reference; rows over other images are left empty."""
    base, images = _seed_average(study, reference)
    axes.axvline(0, color=INK, lw=0.9)
    found: dict[int, tuple[tuple[float, float], ClaimRow]] = {}
    for place, row in enumerate(rows):
        values, other = _seed_average(study, row)
        if row is reference:
            axes.plot(0, place, CLAIM_MARKER[row.claim], color=CLAIM_COLOUR[row.claim], ms=6.5)
        elif (n := _shared(images, other, values, base)) is None:
            axes.text(0, place, " not comparable", va="center", fontsize=8, color=MUTED)
        elif math.isfinite(row.mean):
            found[place] = (mean_and_stderr(values[:n] - base[:n]), row)
    near = [mean for (mean, _), row in found.values() if row.role != "baseline"]
    reach = max([abs(mean) for mean in near], default=max([abs(m) for (m, _), _ in found.values()], default=1.0))
    limits = (min([0.0, *near]) - 0.3 * reach, max([0.0, *near]) + 0.5 * reach)
    for place, ((mean, stderr), row) in found.items():
        if limits[0] <= mean <= limits[1] or not near:
            _mark(axes, mean, stderr, place, row.claim)
        else:  # a distant baseline would squeeze the differences of interest into a line
            _off_scale(axes, mean, stderr, place, row.claim)
    if near and reach > 0:
        axes.set_xlim(*limits)


def _off_scale(axes: Axes, mean: float, stderr: float, place: float, claim: Claim) -> None:
    """A difference beyond the axis, as a number at its edge."""
    low = mean < 0
    text = f"{mean:.2f} \N{PLUS-MINUS SIGN} {stderr:.2f}".replace("-", "\N{MINUS SIGN}")
    text = f"\N{LEFTWARDS ARROW} {text}" if low else f"{text} \N{RIGHTWARDS ARROW}"
    axes.text(
        0.02 if low else 0.98,
        place,
        text,
        transform=axes.get_yaxis_transform(),
        va="center",
        ha="left" if low else "right",
        fontsize=8.5,
        color=CLAIM_COLOUR[claim],
    )


def _seed_average(study: Study, row: ClaimRow) -> tuple[np.ndarray, Evidence]:
    """(N,) values of a row, averaged over its seeds, and the evidence of one seed."""
    member = next(member for member in study.members if member.name == row.member)
    evidence = [run.evidence for run in member.runs if run.evidence and run.seed in row.seeds]
    nats = [entry[row.estimator].nats for entry in evidence]
    return np.mean(nats, axis=0), evidence[0]


def _shared(left: Evidence, right: Evidence, *nats: np.ndarray) -> int | None:
    """How many leading images two rows share; ``None`` if they must not be compared."""
    try:
        check_comparable(left, right)
        return common_images(*nats)
    except Incomparable:
        return None


def _label_rows(axes: Axes, rows: list[ClaimRow]) -> None:
    names = [f"{row.member}   {in_short(row.estimator, row.claim)}" for row in rows]
    names = [
        name if math.isfinite(row.mean) else f"{name}\n(mean {INFINITE}, not drawn)"
        for name, row in zip(names, rows, strict=True)
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for place in range(1, len(rows)):
        if rows[place].member != rows[place - 1].member:
            axes.axhline(place - 0.5, color=RULE, lw=0.8)


def _claim_legend(claims: set[Claim]) -> list[Line2D]:
    notes = {
        Claim.LOWER_BOUND: "lower bound: log p(x) lies in the direction of the arrow, or at the mark",
        Claim.EXACT: "exact: log p(x) itself",
    }
    return [
        Line2D([], [], ls="", marker=CLAIM_MARKER[c], color=CLAIM_COLOUR[c], ms=6.5, label=notes.get(c, c.words))
        for c in Claim
        if c in claims
    ]


def gap_readings(evidence: Evidence) -> tuple[Values, Values] | None:
    """The ELBO and the importance-weighted bound with most particles; ``None`` unless both were evaluated."""
    weighted = [v for v in evidence.numbers if v.kind == "iw" and v.claim is Claim.LOWER_BOUND]
    elbo = elbo_values(evidence)
    if elbo is None or not weighted:
        return None
    return elbo[0], max(weighted, key=lambda values: values.effort)


def elbo_gap(name: str, evidence: Evidence, colour: str) -> Figure | None:
    """What the ELBO leaves out, per image: importance-weighted bound minus ELBO, nats; ``None`` without both.

    Left: its distribution, with mean and standard error. Right: against the importance-weighted bound itself, to see
    whether hard images have the wider gap. Both axes are bounds, so the true gap of the ELBO is wider still. Images
    with a bound that is not finite or missing are left out, and the title says how many.
    """
    readings = gap_readings(evidence)
    if readings is None:
        return None
    elbo, weighted = readings
    evaluated = ~np.isnan(elbo.nats) & ~np.isnan(weighted.nats)
    finite = np.isfinite(elbo.nats) & np.isfinite(weighted.nats)
    if not finite.any():
        return None
    gap, level = weighted.nats[finite] - elbo.nats[finite], weighted.nats[finite]
    n, lost = gap.size, int(np.count_nonzero(evaluated & ~finite))
    name += f" ({lost} of {n + lost} images at {INFINITE} left out)" if lost else ""
    mean, stderr = mean_and_stderr(gap)
    figure = new_figure(9.6, 3.1)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    left.hist(gap, bins=min(40, max(8, n // 8)), color=colour, alpha=0.85, edgecolor="white", lw=0.5)
    left.axvline(mean, color=INK, lw=1.4)
    label = f"mean {mean:.2f} \N{PLUS-MINUS SIGN} {stderr:.2f} (s.e.)"
    left.annotate(label, (mean, 1), xycoords=("data", "axes fraction"), xytext=(6, -10), textcoords="offset points")
    axis = f"{weighted.estimator} \N{MINUS SIGN} {elbo.estimator}, nats (lower bound \N{MINUS SIGN} lower bound)"
    left.set(xlabel=axis, ylabel="images", title=name)
    right.scatter(level, gap, s=12, color=colour, alpha=0.55, lw=0)
    right.axhline(0, color=MUTED, lw=0.8)
    right.set_xlabel(f"log p(x) by {weighted.estimator}, nats (lower bound)")
    right.set_ylabel(axis.replace(", nats ", ", nats\n"))
    return figure


def gap_figures(study: Study, colours: dict[str, str]) -> Sequence[tuple[str, Figure]]:
    """`elbo_gap` of the first run of every member that has both bounds."""
    found = []
    for member in study.members:
        run = next((run for run in member.runs if run.evidence is not None), None)
        if run is None:
            continue
        title = f"{member.name}, seed {run.seed}"
        figure = elbo_gap(title, run.evidence, colours[member.name])
        if figure is not None:
            found.append((title, figure))
    return found
