"""Learning curves: the validation quantity with its claim, and the objective apart from it."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.claims import Claim
from analysis.runs import Member, Run, Study
from analysis.sides import in_short
from analysis.style import INK, MUTED, PAPER, light_grid, new_figure

COLUMNS = 4  # panels in a row
LEGEND_INSIDE = 5  # members, up to which the legend has room between the curves
_STYLE = {Claim.EXACT: "-", Claim.NUMERICAL: "-", Claim.LOWER_BOUND: "--", Claim.ESTIMATE: ":"}


def learning_curves(study: Study, colours: dict[str, str]) -> Figure | None:
    """Validation log p(x) per epoch, and below it each member's own objective; ``None`` without any history.

    Above: nats per image with the claim in the legend and in the line (solid exact, dashed lower bound); the best epoch
    is marked, every seed is a line. Below: what was minimised. It has the member's own definition and is never a number
    to report, so each member has its own axis. A member without a density shows its validation score there too.
    """
    members = [member for member in study.members if any(run.history for run in member.runs)]
    if not members:
        return None
    with_density = [member for member in members if _validated(member)]
    columns = min(COLUMNS, len(members))
    rows = math.ceil(len(members) / columns)
    upper = (3.2 if len(members) <= LEGEND_INSIDE else 4.2) if with_density else 0.0
    figure = new_figure(9.6, 2.6 * rows + upper)
    parts = figure.subfigures(2 if with_density else 1, 1, height_ratios=(upper, 2.6 * rows) if with_density else None)
    if with_density:
        _validation(parts[0].subplots(), with_density, colours)
        parts = parts[1]
    panels = parts.subplots(rows, columns, squeeze=False).ravel()
    for axes, member in zip(panels, members, strict=False):
        _objective(axes, member, colours[member.name])
    for axes in panels[len(members) :]:
        axes.set_axis_off()
    return figure


def _validated(member: Member) -> bool:
    return any("valid_log_evidence" in record for run in member.runs for record in run.history or ())


def _validation(axes: Axes, members: list[Member], colours: dict[str, str]) -> None:
    handles, late = [], {"model": [], "baseline": []}
    for member in members:
        colour = colours[member.name]
        for run in member.runs:
            if not run.history:
                continue
            epochs, values = _series(run, "valid_log_evidence")
            line = _STYLE.get(Claim(run.history[-1]["valid_claim"]), ":")
            axes.plot(epochs, values, line, color=colour, lw=1.3, alpha=0.85)
            best = int(np.nanargmax(values))
            axes.plot(epochs[best], values[best], "o", color=colour, mec="white", ms=6, zorder=3)
            role = "baseline" if member.role == "baseline" else "model"
            late[role].append(values[len(values) // 20 :])
        handles.append(Line2D([], [], color=colour, ls=line, label=f"{member.name} ({_reading(member)})"))
    handles.append(Line2D([], [], ls="", marker="o", color=INK, mec="white", label="best epoch of a run"))
    # A baseline far below would squeeze the curves of interest; it may leave the axis, the caption says so.
    spread = np.concatenate(late["model"] or late["baseline"])
    low, high = np.nanpercentile(spread, 8), np.nanmax(spread)
    if high > low:
        bottom = low - 0.1 * (high - low)
        axes.set_ylim(bottom, high + 0.08 * (high - low))
        _name_hidden(handles, members, bottom)
    axes.set(title="Validation: log p(x), mean over validation images", xlabel="epoch")
    axes.set_ylabel("nats per image,\nhigher is better (claim: legend)")
    if len(members) <= LEGEND_INSIDE:
        axes.legend(handles=handles, loc="lower right", facecolor=PAPER, framealpha=0.9, frameon=True, edgecolor="none")
    else:  # it would hide the curves
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, frameon=False)
    light_grid(axes, "y")


def _name_hidden(handles: list[Line2D], members: list[Member], bottom: float) -> None:
    """Say in the legend which members lie wholly below the axis."""
    for handle, member in zip(handles, members, strict=False):
        best = [np.nanmax(_series(run, "valid_log_evidence")[1]) for run in member.runs if run.history]
        if max(best) < bottom:
            handle.set_label(f"{handle.get_label()}, below the axis")


def _reading(member: Member) -> str:
    """The validation estimator with its claim, in words."""
    record = next(run.history for run in member.runs if run.history)[-1]
    return in_short(str(record.get("valid_estimator", "")), Claim(record["valid_claim"]))


def _objective(axes: Axes, member: Member, colour: str) -> None:
    """The training objective, and for a member without a density the negated validation score beside it."""
    runs = [run for run in member.runs if run.history]
    for run in runs:
        epochs, values = _series(run, "train_loss")
        axes.plot(epochs, values, color=colour, lw=1.1, alpha=0.85)
        if "valid_score" in run.history[-1]:
            epochs, score = _series(run, "valid_score")
            axes.plot(epochs, -score, color=MUTED, lw=1.1, ls=":")
            best = int(np.nanargmax(score))
            axes.plot(epochs[best], -score[best], "o", color=MUTED, mec="white", ms=5)
    last = runs[0].history[-1]
    if "valid_score" in last:
        axes.text(
            0.97,
            0.93,
            "dotted: validation error\n(claim: none)",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=8,
            color=MUTED,
        )
    axes.set_title(member.name, fontsize=9)
    axes.set_xlabel("epoch", fontsize=8.5)
    axes.set_ylabel(f"{last['train_loss_name']}\n(objective, not reported)", fontsize=8)
    axes.tick_params(labelsize=8)
    light_grid(axes, "y")
    values = np.concatenate([_series(run, "train_loss")[1] for run in runs])
    low, high = np.nanmin(values), np.nanpercentile(values, 97)
    if high > low:
        axes.set_ylim(low - 0.08 * (high - low), high)


def _series(run: Run, key: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, values) of one quantity; NaN where an epoch lacks it."""
    epochs = np.array([record["epoch"] for record in run.history], dtype=float)
    values = np.array([record.get(key, np.nan) for record in run.history], dtype=float)
    return epochs, values
