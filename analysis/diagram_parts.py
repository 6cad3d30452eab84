"""The marks of plate notation: nodes, arrows and plates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, RegularPolygon

from analysis.style import INK, MUTED, OBSERVED, PAPER

RADIUS = 0.62


def node(axes: Axes, x: float, y: float, label: str, observed: bool) -> Circle:
    """A random variable; observed ones are shaded."""
    circle = Circle((x, y), RADIUS, fc=OBSERVED if observed else PAPER, ec=INK, lw=1.2, zorder=3)
    axes.add_patch(circle)
    axes.text(x, y, label, ha="center", va="center", fontsize=10 if len(label) < 7 else 8.5, zorder=4)
    return circle


def arrow(
    axes: Axes,
    start: Any,
    end: Any,
    dashed: bool = False,
    dotted: bool = False,
    bend: float = 0.0,
    faint: bool = False,
) -> None:
    """An arrow between two patches: solid generates, dashed infers, dotted computes."""
    style = "--" if dashed else ":" if dotted else "-"
    centre = [patch.xy if isinstance(patch, RegularPolygon) else patch.center for patch in (start, end)]
    axes.add_patch(
        FancyArrowPatch(
            *centre,
            patchA=start,
            patchB=end,
            arrowstyle="-|>",
            mutation_scale=10,
            connectionstyle=f"arc3,rad={bend}",
            linestyle=style,
            lw=0.9 if faint else 1.3,
            color=MUTED if faint else INK,
            shrinkA=1,
            shrinkB=1,
            zorder=2,
        )
    )


def plate(axes: Axes, x: float, y: float, width: float, height: float, sites: Sequence) -> None:
    """The plate that repeats everything inside once per image, named as it was traced."""
    names = sorted({name for site in sites for name in site["plates"]})
    if not names:
        return
    box = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.35", fc="none", ec=MUTED, lw=1.1)
    axes.add_patch(box)
    label = ", ".join(f"{name} = 1..N" for name in names)
    axes.text(x + width - 0.25, y + 0.25, label, ha="right", va="bottom", fontsize=8.5, color=INK)
