"""Plots of calibration: differences of distribution functions with their band, and coverage of intervals."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.calibration import NOTHING_FOUND, Calibration
from analysis.style import INK, MUTED, RULE, new_figure

_FAULT, _CALM, _BAND = "#c1662f", "#8a8f99", "#dbe6f2"
_NAMED = 3


def calibration_figure(found: Calibration, title: str) -> Figure:
    """Left and middle: distribution function of the ranks minus the uniform one, of the latents and of log p(x, z); the
    band is that of one quantity, corrected for their number. Right: how often central intervals hold the truth.

    A curve that rises and then falls below zero (an S) belongs to an overconfident latent, the reverse to an
    underconfident one, a curve above zero to draws that lie too high.
    """
    figure = new_figure(9.6, 3.6)
    latents, joint, intervals = figure.subplots(1, 3, width_ratios=(3, 3, 2.6))
    differences = found.counts / found.num_simulations - found.points
    faults = [i for i, word in enumerate(found.verdicts[:-1]) if word != NOTHING_FOUND]
    for i in range(len(found.quantities) - 1):
        colour, width = (_FAULT, 1.1) if i in faults else (_CALM, 0.9)
        latents.plot(found.points, differences[i], color=colour, lw=width, alpha=0.9)
    for i in sorted(faults, key=lambda i: -np.abs(differences[i]).max())[:_NAMED]:
        top = int(np.abs(differences[i]).argmax())
        latents.annotate(
            found.quantities[i], (found.points[top], differences[i, top]), xytext=(0, 3), fontsize=8, color=INK,
            textcoords="offset points", ha="center",
        )  # fmt: skip
    joint.plot(found.points, differences[-1], color=_CALM if found.verdicts[-1] == NOTHING_FOUND else _FAULT, lw=1.3)
    for axes, name in ((latents, f"{title}: latents"), (joint, found.quantities[-1])):
        _band(axes, found)
        axes.set(title=name, xlabel="share of the guide's draws below the truth")
    latents.set_ylabel("distribution of the ranks\nminus the uniform one")
    _coverage(intervals, found, faults)
    return figure


def _band(axes: Axes, found: Calibration) -> None:
    low, high = (limit / found.num_simulations - found.points for limit in (found.lower, found.upper))
    axes.fill_between(found.points, low, high, color=_BAND, zorder=0, lw=0)
    axes.axhline(0, color=MUTED, lw=0.8, zorder=1)
    axes.set_xlim(0, 1)
    axes.margins(y=0.12)


def _coverage(axes: Axes, found: Calibration, faults: list[int]) -> None:
    """A dot with its 95% binomial interval per latent, in a column for each level; the line is the level itself."""
    count = len(found.quantities) - 1
    for column, level in enumerate(found.levels):
        places = column + np.linspace(-0.32, 0.32, count) if count > 1 else np.array([column])
        axes.hlines(level, column - 0.42, column + 0.42, color=INK, lw=1.2, zorder=3)
        for i in range(count):
            colour = _FAULT if i in faults else _CALM
            ends = found.coverage_lower[column, i], found.coverage_upper[column, i]
            axes.vlines(places[i], *ends, color=colour, lw=1, alpha=0.8)
            axes.plot(places[i], found.coverage[column, i], "o", color=colour, ms=3)
    axes.set_xticks(range(len(found.levels)), [f"{level:.0%}" for level in found.levels])
    axes.set(title="Coverage of the latents", xlabel="central interval", ylabel="share that holds the truth")
    axes.tick_params(length=0, axis="x")
    axes.grid(True, axis="y", color=RULE)
    axes.set_axisbelow(True)
