"""Pictures of the cures: the rate-distortion plane with its iso-ELBO lines, and what a rate is worth in evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cures import CURED, MARGIN, CureRow
from analysis.style import INK, MEMBER_COLOURS, MUTED, RULE, light_grid, new_figure

_MARKERS = "osD^v<>PXph*"
_REFERENCE_MARKER = {"plain": "s", "decoder": "D"}


def cure_figure(rows: Sequence[CureRow]) -> Figure | None:
    """Left: the rate-distortion plane (Alemi et al. 2018). Right: evidence against rate. ``None`` without a row.

    On a line R + D = const the ELBO is the same, whatever it is made of. Large marks are means over seeds, small ones
    the seeds. The stepped line is the frontier: no member has both a lower rate and a lower distortion. Right: log p(x)
    by the tightest reading, with 90% intervals over images (two one-sided limits of 95%); the shaded corner is that of
    a cure, by its means.
    """
    if not rows:
        return None
    figure = new_figure(11.5, 5.2)
    left, right = figure.subplots(1, 2)
    looks = {row.name: _look(number, row) for number, row in enumerate(rows)}
    for row in rows:
        rate = row.rate.mean if row.rate is not None else 0.0
        left.scatter(*row.points.T, s=9, color=looks[row.name]["color"], alpha=0.6, lw=0)
        left.plot(rate, row.distortion, ls="", label=_label(row), **looks[row.name])
        _evidence(right, row, rate, looks[row.name])
    _iso_lines(left, rows)
    _frontier(left, rows)
    _corner(right, rows)
    left.set(xlabel="rate R = KL(q(z | x) || p(z)), nats", ylabel="distortion D = \N{MINUS SIGN}E[log p(x | z)], nats")
    left.set_title("What the code costs, and what is left to say")
    right.set(xlabel="rate R, nats", ylabel="log p(x), nats per image, higher is better")
    right.set_title("What the rate is worth")
    for axes in (left, right):
        light_grid(axes, "both")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def _look(number: int, row: CureRow) -> dict:
    """A colour and a marker that no other of a dozen rows has; references are black."""
    if row.purpose in _REFERENCE_MARKER:
        return {"marker": _REFERENCE_MARKER[row.purpose], "color": INK, "ms": 8, "mfc": "none", "mew": 1.6}
    own = {"marker": _MARKERS[number % len(_MARKERS)], "color": MEMBER_COLOURS[number % len(MEMBER_COLOURS)], "ms": 7}
    return own | ({"mec": INK, "mew": 1.4, "ms": 9} if row.purpose == "proposed" else {})


def _label(row: CureRow) -> str:
    return f"{row.name} (proposed)" if row.purpose == "proposed" else row.name


def _evidence(axes: Axes, row: CureRow, rate: float, look: dict) -> None:
    evidence = row.evidence
    error = [[evidence.mean - evidence.lower], [evidence.upper - evidence.mean]]
    axes.errorbar(rate, evidence.mean, yerr=error if np.isfinite(error).all() else None, lw=0.8, alpha=0.9, **look)


def _iso_lines(axes: Axes, rows: Sequence[CureRow]) -> None:
    """R + D = -ELBO of the plain VAE and of the best ELBO."""
    totals = {row.name: row.distortion + (row.rate.mean if row.rate is not None else 0.0) for row in rows}
    named = [("plain", row.name) for row in rows if row.purpose == "plain"]
    best = min(totals, key=totals.__getitem__)
    named.append(("best", best))
    reach = max([row.rate.mean for row in rows if row.rate is not None], default=1.0) * 1.05
    for kind, name in named:
        ends = np.array([0.0, reach])
        axes.plot(ends, totals[name] - ends, ls="--" if kind == "plain" else ":", color=MUTED, lw=1, zorder=1)
        words = f"ELBO {-totals[name]:.2f} ({name})".replace("-", "\N{MINUS SIGN}")
        # The line falls: right of its start there is room above it, left of its end below it.
        place, side = ((0.0, totals[name]), 1) if kind == "plain" else ((reach, totals[name] - reach), -1)
        axes.annotate(
            words, place, xytext=(18 * side, 5 * side), ha="left" if side == 1 else "right",
            va="bottom" if side == 1 else "top", textcoords="offset points", fontsize=7.5, color=MUTED,
        )  # fmt: skip


def frontier(points: np.ndarray) -> np.ndarray:
    """Those of (M, 2) points than which no other is lower in both, by the first coordinate."""
    order = points[np.lexsort((points[:, 1], points[:, 0]))]
    lowest, kept = np.inf, []
    for point in order:
        if point[1] < lowest:
            kept.append(point)
            lowest = point[1]
    return np.array(kept).reshape(-1, 2)


def _frontier(axes: Axes, rows: Sequence[CureRow]) -> None:
    points = np.array([[row.rate.mean if row.rate is not None else 0.0, row.distortion] for row in rows])
    axes.step(*frontier(points).T, where="post", color=RULE, lw=3, zorder=0)


def _corner(axes: Axes, rows: Sequence[CureRow]) -> None:
    """Where a cure lies: a rate above 3 nats, and no more than .2 nats below the better reference."""
    axes.axvline(CURED, color=MUTED, lw=0.8, ls=":")
    references = [row.evidence.mean for row in rows if row.purpose in _REFERENCE_MARKER]
    if references:
        floor = max(references) - MARGIN
        axes.axhline(floor, color=MUTED, lw=0.8, ls=":")
        (_, right), (_, top) = axes.get_xlim(), axes.get_ylim()
        axes.fill_between([CURED, max(right, CURED)], floor, top, color="#009e73", alpha=0.08, lw=0, zorder=0)
        axes.set_ylim(top=top)
