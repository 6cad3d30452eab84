"""Rates of many runs: in the plane of rate and distortion, and epoch by epoch with the active units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.claims import Claim
from analysis.collapse import CollapseMeasures
from analysis.runs import Member, Run, Study
from analysis.style import INK, MUTED, RULE, light_grid, new_figure


def rate_distortion(points: Sequence[tuple[str, CollapseMeasures]], colours: Mapping[str, str]) -> Figure:
    """Rate and distortion of runs on the same images, nats per image, with one standard error over images.

    Along a grey line R + D is constant, and with it the ELBO: it cannot tell such runs apart (Alemi et al. 2018,
    1711.00464). Further down and to the left is better.

    Args:
        points: (member, measures) of each run.
        colours: of the members.
    """
    figure = new_figure(6.4, 4.6)
    axes = figure.subplots()
    for name, found in points:
        rate, distortion = found["rate"], found["distortion"]
        axes.errorbar(
            rate.value, distortion.value, xerr=np.nan_to_num(rate.stderr), yerr=np.nan_to_num(distortion.stderr),
            fmt="o", color=colours[name], ms=5, lw=1, mec="white", zorder=3,
        )  # fmt: skip
    claims = sorted({found["rate"].claim.words for _, found in points})
    axes.set_xlabel(f"rate R, nats per image ({' or '.join(claims)})")
    axes.set_ylabel("distortion D, nats per image (estimate)")
    axes.margins(0.12)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    _iso_elbo(axes)
    names = list(dict.fromkeys(name for name, _ in points))
    handles = [Line2D([], [], ls="", marker="o", color=colours[name], label=name) for name in names]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def _iso_elbo(axes: Axes) -> None:
    """Lines of equal ELBO = -(R + D) at round values, each labelled where it enters the axes from the left or above."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for total in MaxNLocator(6).tick_values(left + bottom, right + top):
        start = max(left, total - top)
        if not left + bottom < total < right + top or start >= right:
            continue
        axes.plot((start, right), (total - start, total - right), color=RULE, lw=0.9, zorder=0)
        text = f" ELBO {-total:g}".replace("-", "\N{MINUS SIGN}")
        axes.text(start, total - start, text, fontsize=7.5, color=MUTED, va="top", zorder=1, clip_on=True)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def monitor_curves(study: Study, colours: Mapping[str, str]) -> Figure | None:
    """Rate and active units on validation images after every epoch, a line per run; ``None`` if no run was watched.

    A solid rate is integrated, a dotted one comes from draws. A cross marks the epoch that was warned of.
    """
    pairs = [(member, run) for member in study.members for run in member.runs]
    watched = [(member, run) for member, run in pairs if any(map(_is_watched, run.history or ()))]
    if not watched:
        return None
    figure = new_figure(9.6, 3.4)
    rates, counts = figure.subplots(1, 2)
    for member, run in watched:
        _curves(rates, counts, member, run, colours[member.name])
    rates.set(title="Rate on validation images", xlabel="epoch")
    rates.set_ylabel("nats per image (solid: exact,\ndotted: estimate)")
    rates.set_ylim(bottom=0)
    counts.set(xlabel="epoch", ylabel="dimensions of z", title="Active units on validation images")
    counts.set_ylim(bottom=0)
    counts.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (rates, counts):
        light_grid(axes, "y")
    names = list(dict.fromkeys(member.name for member, _ in watched))
    handles = [Line2D([], [], color=colours[name], label=name) for name in names]
    if any("collapse_warning" in record for _, run in watched for record in run.history or ()):
        handles.append(Line2D([], [], ls="", marker="x", color=INK, label="warned of collapse"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    return figure


def _is_watched(record: Mapping[str, Any]) -> bool:
    return "rate" in record and "active_units" in record


def _curves(rates: Axes, counts: Axes, member: Member, run: Run, colour: str) -> None:
    records = [record for record in run.history or () if _is_watched(record)]
    epochs = [record["epoch"] for record in records]
    line = "-" if records[-1].get("rate_claim") == Claim.EXACT else ":"
    rates.plot(epochs, [record["rate"] for record in records], line, color=colour, lw=1.2, alpha=0.85)
    counts.plot(epochs, [record["active_units"] for record in records], color=colour, lw=1.2, alpha=0.85)
    for record in records:
        if "collapse_warning" in record:
            rates.plot(record["epoch"], record["rate"], "x", color=INK, ms=7, clip_on=False, zorder=3)
