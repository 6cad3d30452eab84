"""Plot of sandwiches: how their width falls as the temperatures rise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.sandwich import Rung
from analysis.style import MUTED, light_grid, new_figure

LINEAR_BELOW = 0.1  # nats: below this the axis is linear, since a width of zero or less has no logarithm


def width_figure(ladders: Sequence[tuple[str, Sequence[Rung]]], colours: Mapping[str, str]) -> Figure:
    """Width of the sandwich against the number of temperatures, one line per run, bars of one standard error.

    Args:
        ladders: (member, its rungs by rising T), one per run.
        colours: of the members.
    """
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    for name, ladder in ladders:
        axes.errorbar(
            [rung.temperatures for rung in ladder], [rung.width[0] for rung in ladder],
            yerr=[rung.width[1] for rung in ladder],
            marker="o", ms=5, lw=1.2, mec="white", capsize=3, color=colours[name],
        )  # fmt: skip
    axes.axhline(0, color=MUTED, lw=0.8)
    axes.set_xscale("log")
    ticks = sorted({rung.temperatures for _, ladder in ladders for rung in ladder})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    _width_axis(axes, [rung.width for _, ladder in ladders for rung in ladder])
    axes.set_xlabel("temperatures T")
    axes.set_ylabel("upper \N{MINUS SIGN} lower bound, nats per image")
    light_grid(axes, "y")
    names = list(dict.fromkeys(name for name, _ in ladders))
    handles = [Line2D([], [], marker="o", color=colours[name], label=name) for name in names]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def _width_axis(axes: Axes, widths: Sequence[tuple[float, float]]) -> None:
    """Logarithmic above ``LINEAR_BELOW``, zero always in sight, ticks at 1, 2 and 5 of each decade."""
    low = min(0.0, *(width - error for width, error in widths if error == error), *(width for width, _ in widths))
    high = max(LINEAR_BELOW, *(width + error for width, error in widths if error == error), *(w for w, _ in widths))
    axes.set_yscale("symlog", linthresh=LINEAR_BELOW)
    axes.set_ylim(low - 0.01, 1.3 * high)
    decades = [10.0**power for power in range(math.floor(math.log10(LINEAR_BELOW)), math.ceil(math.log10(high)) + 1)]
    above = [step * decade for decade in decades for step in (1, 2, 5)]
    ticks = [-tick for tick in above] + [0.0] + above
    axes.set_yticks([tick for tick in ticks if low - 0.01 <= tick <= 1.3 * high])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))
