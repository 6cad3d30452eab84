"""How each program makes a sample: one decode, pixel by pixel, or not at all."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from analysis.diagram_parts import node
from analysis.diagrams import Traced, panels
from analysis.style import INK, MUTED, OBSERVED, PAPER, RULE


def how_it_samples(program: Traced) -> str:
    """One sentence on how a sample comes about, from the traced structure."""
    generation = program.structure["generation"]
    if program.kind == "none":
        return "no distribution to sample from: nothing says which codes to decode"
    if program.kind == "autoregressive":
        start = "draw the latents, then " if program.latents else ""
        return f"{start}pixel by pixel in the ordering: {generation['passes']} passes"
    if program.latents:
        names = ", ".join(site["name"] for site in program.latents)
        return f"draw {names} from the prior, decode once: all pixels at once"
    return "one draw: all pixels at once, each on its own"


def generation_figure(programs: Sequence[Traced]) -> Figure:
    """The way to a sample, side by side; the ordering is shown as the time at which each pixel is drawn."""
    figure, drawn = panels(programs, 0, 0.55)
    for axes, program in zip(drawn, programs, strict=True):
        axes.set(xlim=(0, 10), ylim=(0, 10), aspect="equal")
        axes.set_title(program.title, loc="center", fontsize=9.5)
        if program.kind == "autoregressive":
            _ordering(axes, program)
        else:
            _decode(axes, program)
        axes.text(5, 0.6, _wrap(how_it_samples(program)), ha="center", va="top", fontsize=8.5, color=INK)
    return figure


def _wrap(text: str, width: int = 30) -> str:
    return "\n".join(textwrap.wrap(text, width))


def _ordering(axes: Axes, program: Traced) -> None:
    """The rank of each pixel of the first channel: light is early, dark is late."""
    channels, height, width = program.shape
    size = channels * height * width
    sequence = program.structure["generation"]["ordering"]
    sequence = np.asarray(sequence if len(sequence) == size else range(size))
    rank = np.empty(size)
    rank[sequence] = np.arange(size)
    longest = max(height, width)
    half = (3.6 * width / longest, 3.6 * height / longest)
    extent = (5 - half[0], 5 + half[0], 5.4 - half[1], 5.4 + half[1])
    first = rank.reshape(channels, height, width)[0]
    axes.imshow(first, cmap="Blues", vmin=-0.2 * size, vmax=1.9 * size, extent=extent, interpolation="nearest")
    axes.set(xlim=(0, 10), ylim=(0, 10))
    if longest <= 12:
        for (row, column), value in np.ndenumerate(first):
            x = extent[0] + (column + 0.5) * 2 * half[0] / width
            y = extent[3] - (row + 0.5) * 2 * half[1] / height
            axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=6, color=INK)
    axes.text(5, extent[2] - 0.15, "time at which each pixel is drawn", ha="center", va="top", fontsize=8, color=MUTED)


def _decode(axes: Axes, program: Traced) -> None:
    """A latent or a code, the decoder, and the pixels; a question mark where there is no prior."""
    possible = program.kind != "none"
    if program.latents or not possible:
        label = f"${program.latents[0]['name']}$" if possible else "?"
        circle = node(axes, 1.5, 5.4, label, False)
        if not possible:
            circle.set(linestyle="--", ec=MUTED)
        prior = str(program.latents[0]["distribution"]) if possible else "no prior"
        axes.text(1.5, 4.2, prior, ha="center", va="top", fontsize=8, color=MUTED)
        axes.add_patch(
            FancyBboxPatch((3.3, 4.7), 2.4, 1.4, boxstyle="round,pad=0,rounding_size=0.15", fc=PAPER, ec=INK, lw=1.1)
        )
        axes.text(4.5, 5.4, "decode", ha="center", va="center", fontsize=8.5)
        _step(axes, (2.15, 5.4), (3.3, 5.4), possible)
        _step(axes, (5.7, 5.4), (6.7, 5.4), possible)
        _pixels(axes, 6.8, 4.0, 2.8, possible)
    else:
        _pixels(axes, 3.2, 3.6, 3.6, possible)


def _step(axes: Axes, start: tuple[float, float], end: tuple[float, float], possible: bool) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            lw=1.2,
            shrinkA=0,
            shrinkB=0,
            color=INK if possible else MUTED,
            linestyle="-" if possible else ":",
        )
    )


def _pixels(axes: Axes, x: float, y: float, size: float, filled: bool) -> None:
    """A small image; without a distribution its cells stay empty."""
    cell = size / 4
    for row in range(4):
        for column in range(4):
            colour = OBSERVED if filled else PAPER
            corner = (x + column * cell, y + row * cell)
            axes.add_patch(Rectangle(corner, cell, cell, fc=colour, ec=MUTED if filled else RULE, lw=0.8))
