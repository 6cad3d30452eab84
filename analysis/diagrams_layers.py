"""What is inside: the layers of each program next to each other, alike ones in one colour and on one line."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from analysis.diagrams import Traced, panels
from analysis.layer_stacks import FAMILIES, OTHER, SLIM, Box, align, links_of, stack_of, tables_of
from analysis.style import INK, MUTED, OBSERVED, PAPER

TABLES_SHOWN = 3  # lines under a stack for parameters that nothing passes through


def layer_figure(programs: Sequence[Traced]) -> Figure:
    """The stacks of all programs from x (top) to what they say about x (bottom), under each the tables beside them."""
    stacks = [stack_of(program) for program in programs]
    rows = align(stacks)
    below = [_table_lines(program) for program in programs]
    height = 1 + max(max(places) for places in rows)
    room = 0.55 * max(len(lines) for lines in below)
    figure, drawn = panels(programs, 0.36 * (height + room) + 0.75)
    for axes, program, stack, places, lines in zip(drawn, programs, stacks, rows, below, strict=True):
        axes.set(xlim=(0, 10), ylim=(height + room - 0.4, -0.6))
        axes.set_title(program.title, loc="center", fontsize=9.5)
        _draw(axes, stack, places, links_of(program))
        for number, line in enumerate(lines):
            axes.text(5, height - 0.2 + 0.55 * number, line, ha="center", va="center", fontsize=7, color=MUTED)
    return figure


def _table_lines(program: Traced) -> list[str]:
    """What stands under a stack: its first tables, and how many more there are."""
    lines = [f"+ {line}" for line in tables_of(program)]
    if len(lines) <= TABLES_SHOWN:
        return lines
    return [*lines[: TABLES_SHOWN - 1], f"+ {len(lines) - TABLES_SHOWN + 1} more tables"]


def _draw(axes: Axes, stack: Sequence[Box], places: Sequence[int], links: Sequence[Box]) -> None:
    """Boxes and arrows; a direct link runs beside them, which then move over."""
    centre, scale = (5.6, 0.84) if links else (5.0, 1.0)
    for box, row in zip(stack, places, strict=True):
        _draw_box(axes, box, row, centre, scale)
    for link in links:
        _draw_link(axes, link, places[-1])
    halves = [_half(box) for box in stack]
    ends = zip(places, places[1:], halves, halves[1:], strict=False)
    for upper, lower, above, below in ends:
        style = {"arrowstyle": "-|>", "color": MUTED, "lw": 0.9, "mutation_scale": 7}
        style |= {"shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (centre, lower - below), (centre, upper + above), arrowprops=style)


def _half(box: Box) -> float:
    """Half the height of a box, in rows."""
    return 0.22 if box.family in SLIM else 0.34


def _draw_link(axes: Axes, link: Box, last: int) -> None:
    """A line from the input to the output along the left edge, with the layer's name on it."""
    style = {"arrowstyle": "-|>", "color": MUTED, "lw": 0.9, "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0}
    axes.plot([2.6, 0.55, 0.55], [0, 0, last], color=MUTED, lw=0.9, zorder=0)
    axes.annotate("", (1.7, last), (0.55, last), arrowprops=style)
    backing = {"fc": FAMILIES.get(link.family, ((), OTHER))[1], "ec": MUTED, "lw": 0.6, "pad": 2.5}
    place = {"rotation": 90, "ha": "center", "va": "center", "bbox": backing}
    axes.text(0.55, last / 2, f"{link.label}, direct", fontsize=7.5, **place)


def _draw_box(axes: Axes, box: Box, row: int, centre: float, scale: float) -> None:
    colour = FAMILIES.get(box.family, ((), OTHER))[1]
    slim = box.family in SLIM
    half = _half(box)
    if box.is_variable:
        colour = OBSERVED if box.part == "input" else PAPER
    width = scale * (6.4 if slim or (box.is_variable and len(box.note) < 10) else 9.4)
    style = "round,pad=0,rounding_size=0.3" if box.is_variable else "round,pad=0,rounding_size=0.08"
    frame = FancyBboxPatch(
        (centre - width / 2, row - half),
        width,
        2 * half,
        boxstyle=style,
        mutation_aspect=0.3,
        fc=colour,
        ec=INK if box.is_variable else MUTED,
        lw=1.1 if box.is_variable else 0.6,
    )
    axes.add_patch(frame)
    if box.restricted:
        frame.set(hatch="////", hatch_linewidth=0.5, ec="#8fb2d3")
    text = f"{box.label}   {box.note}" if box.note else box.label
    backing = {"fc": colour, "ec": "none", "pad": 1.2} if box.restricted else None
    axes.text(centre, row, text, ha="center", va="center", fontsize=7.5 if slim else 8.5, color=INK, bbox=backing)
