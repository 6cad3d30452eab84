"""Pictures of what makes a code collapse: the linear program against its theory, and heat maps of sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.linear_theory import LinearTheory
from analysis.style import INK, MEMBER_COLOURS, MUTED, light_grid, new_figure
from analysis.sweeps import QUANTITIES, SweepGrid, in_words


def linear_figure(theory: LinearTheory) -> Figure:
    """Left: Var E[z | x] of every latent over sigma, theory as lines and every restart as a point. Middle: measured
    against predicted, with sigma learned too. Right: the largest curvature of the ELBO at the collapsed point, which is
    a maximum where it is negative."""
    figure = new_figure(11.5, 4.0)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _variances(left, theory)
    _agreement(middle, theory)
    _curvature(right, theory)
    return figure


def _variances(axes: Axes, theory: LinearTheory) -> None:
    fine = np.geomspace(theory.sigma[0], theory.sigma[-1], 200)
    for number, eigenvalue in enumerate(theory.eigenvalues):
        colour = MEMBER_COLOURS[number % len(MEMBER_COLOURS)]
        axes.plot(fine, np.maximum(0, 1 - fine**2 / eigenvalue), color=colour, lw=1)
        for restart in theory.measured.transpose(1, 0, 2):
            axes.plot(theory.sigma, restart[:, number], ls="", marker="o", ms=3.5, color=colour, mec="white", mew=0.4)
    axes.axhline(theory.threshold, color=MUTED, lw=0.8, ls=":")
    axes.set_xscale("log")
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10, 20, 50) if fine[0] <= t <= fine[-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="sigma, units of x", ylabel="Var E[z | x] of each latent", ylim=(-0.03, 1.0))
    axes.set_title(f"{theory.data}: lines theory, points trained")
    light_grid(axes, "both")


def _agreement(axes: Axes, theory: LinearTheory) -> None:
    predicted = np.broadcast_to(theory.predicted[:, None], theory.measured.shape)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8)
    axes.plot(predicted.ravel(), theory.measured.ravel(), "o", ms=3.5, color=MEMBER_COLOURS[0], label="sigma fixed")
    learned = np.broadcast_to(theory.learned_predicted, theory.learned_measured.shape)
    axes.plot(learned.ravel(), theory.learned_measured.ravel(), "D", ms=4.5, color=MEMBER_COLOURS[1], mfc="none",
              label="sigma learned")  # fmt: skip
    axes.set(xlabel="predicted", ylabel="measured")
    axes.set_title(f"Var E[z | x]: at most {theory.error:.1g} apart")
    axes.legend(loc="upper left")
    light_grid(axes, "both")


def _curvature(axes: Axes, theory: LinearTheory) -> None:
    axes.axhline(0, color=INK, lw=0.8)
    edge = "square root of the\nlargest eigenvalue"
    axes.axvline(np.sqrt(theory.eigenvalues[0]), color=MUTED, lw=0.9, ls="--", label=edge)
    axes.plot(theory.sigma, theory.predicted_curvature, color=MEMBER_COLOURS[0], lw=1.2, label="theory")
    axes.plot(theory.sigma, theory.curvature, "o", ms=4, color=MEMBER_COLOURS[1], label="measured")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set(xlabel="sigma, units of x", ylabel="largest curvature, nats")
    axes.set_title("Collapsed point: stable below 0")
    axes.legend(loc="lower left")
    light_grid(axes, "both")


def sweep_figure(grid: SweepGrid, at: Mapping[str, Any]) -> Figure:
    """Heat maps of one sweep, a panel per quantity, where the axes beyond the second are ``at``. Cells hold the mean
    over seeds, a cross where no run is finished."""
    row, column = grid.sides
    rows, columns = len(grid.axes[row]), len(grid.axes[column]) if column else 1
    figure = new_figure(11.5, 1.5 + 0.42 * rows)
    for axes, (quantity, label) in zip(figure.subplots(1, len(QUANTITIES)), QUANTITIES.items(), strict=True):
        _map(axes, grid.table(quantity, at), label, 1 if quantity == "active_units" else 2)
        axes.set_xticks(range(columns), [str(value) for value in grid.axes[column]] if column else [""])
        axes.set_yticks(range(rows), [str(value) for value in grid.axes[row]])
        axes.set_xlabel(column)
    figure.axes[0].set_ylabel(row)
    if at:
        figure.suptitle(in_words(at), fontsize=10, ha="left", x=0.01)
    return figure


def _map(axes: Axes, table: np.ndarray, label: str, digits: int) -> None:
    known = table[np.isfinite(table)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    axes.imshow(table, cmap="viridis", vmin=low, vmax=high if high > low else low + 1, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        if np.isnan(value):
            axes.text(j, i, "\N{MULTIPLICATION SIGN}", ha="center", va="center", color=MUTED)
            continue
        dark = value - low <= 0.6 * (high - low)
        text = f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")
        axes.text(j, i, text, ha="center", va="center", color="white" if dark else INK, fontsize=8.5)
    axes.set_title(label, fontsize=9)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
