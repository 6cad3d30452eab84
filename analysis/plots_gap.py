"""Plots of the gap: its parts by guide with what each is claimed to be, and both parts per image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import OffsetFrom

from analysis.gap_verdicts import Contestant
from analysis.statistics import mean_and_stderr
from analysis.style import INK, MUTED, light_grid, member_colours, new_figure

ENCODER, FAMILY = "#c1662f", "#3b6ea8"
COLUMNS = 4


def bars_figure(found: Sequence[Contestant]) -> Figure:
    """Nats per image by member, means over images and seeds. The first part of a bar is what the encoder loses at
    least; the second what the best member found leaves of log p(x)'s lower side; both end at what the whole gap is at
    least. A bracket shows the whole gap at most, where log p(x) has an upper side; an arrow that none is known. A
    diamond is the family's part by theory, set off from the end of the encoder's."""
    figure = new_figure(9.6, 1.6 + 0.48 * len(found))
    axes = figure.subplots()
    for place, entry in enumerate(found):
        _bar(axes, place, entry)
    axes.axvline(0, color=INK, lw=0.9)
    axes.set_yticks(range(len(found)), [f"{entry.name}   {entry.splits[0].guide}" for entry in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlabel("nats per image, mean over images (black bar: one s.e. over images of the whole gap)")
    light_grid(axes)
    figure.legend(handles=_legend(found), loc="outside upper left", ncols=2)
    return figure


def _bar(axes: Axes, place: int, entry: Contestant) -> None:
    encoder, _ = mean_and_stderr(entry.mean("amortization_gap_lower"))
    family, _ = mean_and_stderr(entry.mean("approximation_gap_if_converged"))
    whole, error = mean_and_stderr(entry.mean("gap_lower"))
    upper, _ = mean_and_stderr(entry.mean("gap_upper"))
    axes.barh(place, encoder, 0.55, color=ENCODER)
    if not math.isnan(family):
        axes.barh(place, family, 0.55, left=encoder, color=FAMILY, alpha=0.75, hatch="//", edgecolor="white", lw=0)
        axes.errorbar(whole, place, xerr=error, color=INK, lw=1.4, capsize=3)
    if not math.isnan(upper):
        axes.plot(upper, place, marker="|", ms=17, mew=2, color=FAMILY)
    else:
        start = encoder if math.isnan(whole) else whole
        arrow = {"arrowstyle": "-|>", "color": FAMILY, "lw": 1.2}
        beside = _beside(axes, start, place)
        axes.annotate("", (30, -11), (2, -11), xycoords=beside, textcoords=beside, arrowprops=arrow)
    closed = np.mean([split.closed_form for split in entry.splits])
    if not math.isnan(closed):
        axes.plot(encoder + closed, place, "D", color="white", mec=INK, ms=5.5, zorder=5)


def _beside(axes: Axes, x: float, y: float) -> OffsetFrom:
    """Coordinates in points from a data point."""
    return OffsetFrom(axes.plot([x], [y], alpha=0)[0], (0.5, 0.5), unit="points")


def _legend(found: Sequence[Contestant]) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Patch(color=ENCODER, label="amortization gap, at least"),
        Patch(facecolor=FAMILY, alpha=0.75, hatch="//", edgecolor="white",
              label="what the best member found leaves of log p(x)'s lower side"),
    ]  # fmt: skip
    splits = [split for entry in found for split in entry.splits]
    if any(split.upper_source for split in splits):
        handles.append(Line2D([], [], ls="", marker="|", ms=13, mew=2, color=FAMILY, label="whole gap, at most"))
    if any(not split.upper_source for split in splits):
        label = "no upper side of log p(x): the gap may be wider"
        handles.append(Line2D([], [], ls="", marker=r"$\rightarrow$", ms=13, color=FAMILY, label=label))
    if any(not math.isnan(split.closed_form) for split in splits):
        label = "approximation gap by theory, set off from the encoder's part"
        handles.append(Line2D([], [], ls="", marker="D", color="white", mec=INK, label=label))
    return handles


def scatter_figure(found: Sequence[Contestant]) -> Figure:
    """Per image of the first seed: the encoder's part (at least) against what the best member found leaves of
    log p(x)'s lower side, a panel per member on common axes. On the line both are equal; above it the encoder is the
    one to blame. Where log p(x) has no lower side but the ELBO, the panel says so."""
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    figure = new_figure(9.6, 0.6 + 2.3 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    colours = member_colours([entry.name for entry in found])
    for axes, entry in zip(grid.flat, found, strict=False):
        split = entry.splits[0]
        family, encoder = split["approximation_gap_if_converged"], split["amortization_gap_lower"]
        axes.axhline(0, color=MUTED, lw=0.7)
        axes.axvline(0, color=MUTED, lw=0.7)
        axes.axline((0, 0), slope=1, color=MUTED, lw=0.8, ls=":")
        if np.isnan(family).all():
            axes.text(0.5, 0.5, "no lower side of log p(x)\nbut the ELBO", transform=axes.transAxes, ha="center",
                      color=MUTED, fontsize=8)  # fmt: skip
        axes.scatter(family, encoder, s=12, color=colours[entry.name], alpha=0.65, lw=0)
        axes.set_title(entry.name)
    for axes in list(grid.flat)[len(found) :]:
        axes.set_axis_off()
    figure.supxlabel("log p(x) (lower side) \N{MINUS SIGN} best ELBO of the family that was found, nats", fontsize=9)
    figure.supylabel("amortization gap, at least, nats", fontsize=9)
    return figure
