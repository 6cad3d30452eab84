"""Posterior collapse of one run, drawn: a dashboard of six panels."""

from __future__ import annotations

import math
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.collapse import CollapseMeasures, Measure, collapse_curve
from analysis.style import CLAIM_COLOUR, CLAIM_MARKER, INK, MUTED, RULE, light_grid, new_figure

_LIVE, _DEAD = "#3b6ea8", "#a9b1bd"
_SAYS, _TIED, _SINGLE = "#3b6ea8", "#c1662f", "#e2b08d"
_DELTAS = ((0.01, "-"), (0.1, "--"))
_NAMES_SHOWN = 20


def dashboard(found: CollapseMeasures) -> Figure:
    """What one run's latents carry, in six panels.

    Above, per dimension: the KL over images, the variance of posterior means against the threshold, and the share of
    dimensions that is (epsilon, delta)-collapsed. Below, of all dimensions together: the rate with its two parts beside
    the bracket of the information and its cap, the ELBO as their sum, and log p(x | z) with the z of the image, of
    another image, and of the prior. A panel whose numbers are not known says why.
    """
    figure = new_figure(10.4, 6.6)
    above, below = figure.subplots(2, 3)
    order = np.argsort(-(found.mean_variance if np.isnan(found.kl).any() else found.kl.mean(0)), kind="stable")
    _divergences(above[0], found, order)
    _variances(above[1], found, order)
    _curves(above[2], found)
    _information(below[0], found)
    _split(below[1], found)
    _decoder(below[2], found)
    return figure


def _absent(axes: Axes, reason: str) -> None:
    """The reason in place of numbers."""
    axes.set_axis_off()
    text = "\n".join(textwrap.wrap(f"not known: {reason}", 34))
    axes.text(0.5, 0.5, text, ha="center", va="center", color=MUTED, fontsize=8.5, transform=axes.transAxes)


def _per_latent(axes: Axes, found: CollapseMeasures, order: np.ndarray) -> list[str]:
    """Label the dimensions and return their colours."""
    if len(order) <= _NAMES_SHOWN:
        axes.set_xticks(range(len(order)), found.latents[order], rotation=90, fontsize=7)
    else:
        axes.set_xlabel(f"{len(order)} dimensions of z, sorted")
    light_grid(axes, "y")
    return [_LIVE if found.active[place] else _DEAD for place in order]


def _divergences(axes: Axes, found: CollapseMeasures, order: np.ndarray) -> None:
    axes.set_title("KL from the prior, per dimension")
    if np.isnan(found.kl).any():
        _absent(axes, str(found.dataset.attrs.get("kl_reason", "")))
        return
    colours = _per_latent(axes, found, order)
    low, high = np.quantile(found.kl[:, order], (0.1, 0.9), axis=0)
    axes.bar(range(len(order)), found.kl.mean(0)[order], color=colours, width=0.75)
    axes.vlines(range(len(order)), low, high, color=INK, lw=0.9)
    axes.set_ylim(0, max(0.1, float(high.max()) * 1.05))  # a scale of 1e-5 nats would make nothing look like something
    axes.set_ylabel(f"nats ({found['rate'].claim.words})\nbar: mean, line: 10-90% of images")


def _variances(axes: Axes, found: CollapseMeasures, order: np.ndarray) -> None:
    """A variance that is 0, or below it by the noise that was taken off, stands on the floor of the axis."""
    axes.set_title("Variance of posterior means")
    floor = found.threshold / 100
    colours = _per_latent(axes, found, order)
    values, errors = found.mean_variance[order], found.mean_variance_stderr[order]
    places = np.arange(len(order))
    axes.vlines(places, np.maximum(values - errors, floor), np.maximum(values + errors, floor), color=colours, lw=1.2)
    axes.scatter(places, np.maximum(values, floor), c=colours, s=16, zorder=3)
    axes.axhline(found.threshold, color=INK, lw=0.9, ls="--")
    scaled = found.threshold * found.prior_scale[order] ** 2
    if not np.allclose(scaled, found.threshold):
        axes.hlines(scaled, places - 0.4, places + 0.4, color=MUTED, lw=0.9, ls=":")
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor * 0.8)
    axes.set_ylabel(f"Var_x[E_q(z | x)] ({found['active_units'].claim.words})\ndashed: active from {found.threshold:g}")


def _curves(axes: Axes, found: CollapseMeasures) -> None:
    axes.set_title("(ε, δ)-collapsed dimensions")
    if np.isnan(found.kl).any():
        _absent(axes, str(found.dataset.attrs.get("kl_reason", "")))
        return
    top = max(1.0, float(np.max(found.kl)) * 1.2)
    epsilon = np.geomspace(1e-4, top, 300)
    for delta, line in _DELTAS:
        axes.plot(epsilon, collapse_curve(found, epsilon, delta), line, color=_LIVE, label=f"δ = {delta:g}")
    axes.set_xscale("log")
    axes.set(xlabel=f"ε, nats ({found['rate'].claim.words})", ylabel="share of dimensions", ylim=(-0.03, 1.03))
    axes.legend(loc="best")
    light_grid(axes, "both")


def _information(axes: Axes, found: CollapseMeasures) -> None:
    axes.set_title("Information and rate")
    lower, upper, rate = found["information_lower"], found["information_upper"], found["rate"]
    if not lower.is_known:
        _absent(axes, lower.reason)
        return
    _bracket(axes, lower, upper)
    _parts(axes, found)
    label = f"rate ({rate.claim.words})"
    axes.errorbar(rate.value, 0, xerr=_error(rate), fmt="D", color=INK, ms=4.5, lw=1.2, label=label)
    cap = found["information_cap"].value
    axes.axvline(cap, color=MUTED, lw=0.9, ls=":")
    axes.text(cap, 1.42, f" ln {found.num_images}", color=MUTED, fontsize=8, va="center")
    axes.set_yticks((0, 1), ("rate", "I(x; z)"))
    axes.set_ylim(-1.6, 1.6)
    axes.set_xlabel("nats per image (coloured bar: estimates)\nlines: one s.e. over images")
    axes.legend(loc="lower left", fontsize=7.5, ncols=2, columnspacing=0.9, handlelength=1.2)
    light_grid(axes)


def _bracket(axes: Axes, lower: Measure, upper: Measure) -> None:
    axes.plot((lower.value, upper.value), (1, 1), color=RULE, lw=7, solid_capstyle="butt", zorder=1)
    for side in (lower, upper):
        style = {"fmt": CLAIM_MARKER[side.claim], "color": CLAIM_COLOUR[side.claim], "ms": 6}
        axes.errorbar(side.value, 1, xerr=_error(side), label=side.claim.words, **style)


def _parts(axes: Axes, found: CollapseMeasures) -> None:
    """The rate as information of these N images, total correlation and marginal KL per dimension."""
    total, single = found["total_correlation"], found["marginal_kl_per_latent"]
    parts = [("I(n; z)", found["information_empirical"].value, _SAYS)]
    if total.is_known and single.is_known:
        parts += [("total correlation", total.value, _TIED), ("KL per dimension", single.value, _SINGLE)]
    else:
        parts += [("marginal KL", found["marginal_kl"].value, _TIED)]
    start = 0.0
    for name, value, colour in parts:
        axes.barh(0, value, left=start, height=0.45, color=colour, label=name)
        start += value


def _split(axes: Axes, found: CollapseMeasures) -> None:
    """A staircase: each step begins where the one before ended, and the last column is their sum."""
    axes.set_title("Where the ELBO goes")
    if found["split_elbo"].is_known:
        steps = [("E log p(x | z)", found["split_log_likelihood"].value, _DEAD)]
        steps += [("\N{MINUS SIGN} I(n; z)", -found["split_information"].value, _SAYS)]
        steps += [("\N{MINUS SIGN} marginal\nKL", -found["split_marginal_kl"].value, _TIED)]
        total = found["split_elbo"].value
    else:
        steps = [("E log p(x | z)", -found["distortion"].value, _DEAD)]
        steps += [("\N{MINUS SIGN} rate", -found["rate"].value, _TIED)]
        total = found["elbo"].value
    columns = [*steps, ("ELBO\n(lower bound)", total, INK)]
    heights = np.array([height for _, height, _ in columns])
    starts = np.append(np.cumsum(heights[:-1]) - heights[:-1], 0.0)
    places = np.arange(len(columns))
    axes.bar(places, heights, bottom=starts, color=[colour for *_, colour in columns], width=0.65)
    for place, height, bottom in zip(places, heights, np.minimum(starts, starts + heights), strict=True):
        text = f"{height + 0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
        axes.annotate(text, (place, bottom), (0, -3), textcoords="offset points", ha="center", va="top", fontsize=8)
    axes.axhline(0, color=MUTED, lw=0.8)
    axes.set_xticks(places, [label for label, *_ in columns], fontsize=7.5)
    ends = np.concatenate([starts, starts + heights])
    axes.set_ylim(ends.min() - 0.14 * np.ptp(ends), ends.max() + 0.02 * np.ptp(ends))
    axes.set_ylabel("nats per image (estimates)")
    light_grid(axes, "y")


def _decoder(axes: Axes, found: CollapseMeasures) -> None:
    axes.set_title("What the decoder loses")
    columns = ("log_likelihood", "log_likelihood_shuffled", "log_likelihood_prior")
    for place, name in enumerate(columns):
        values = found.dataset[name].values.astype(float)
        low, high = np.quantile(values, (0.1, 0.9))
        axes.hlines(place, low, high, color=_DEAD, lw=2)
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        axes.errorbar(values.mean(), place, xerr=error, fmt="D", color=_LIVE if place == 0 else _TIED, ms=5)
    axes.set_yticks(range(3), ("its own z", "another\nimage's z", "prior's z"))
    axes.set_ylim(2.5, -0.5)
    axes.set_xlabel("log p(x | z), nats (estimate)\nline: 10-90% of images")
    light_grid(axes)


def _error(measure: Measure) -> float | None:
    return None if math.isnan(measure.stderr) else measure.stderr
