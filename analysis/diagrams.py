"""The programs drawn side by side from their own traced structure (``structure.json``).

`graph_figure` is plate notation: circles are random variables, shaded ones observed, solid arrows generate, dashed ones
are the guide's. `layer_figure` puts the networks inside next to each other, `generation_figure` the way each makes a
sample. Nothing here knows a program by name: what is drawn is what was traced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, RegularPolygon

from analysis.diagram_parts import arrow, node, plate
from analysis.runs import Study
from analysis.style import INK, MUTED, OBSERVED, PAPER, new_figure

COLUMNS = 4  # panels in a row
TITLE_NAMES = 2
CHAIN_SHOWN = 3  # pixels drawn at the start of an autoregressive chain, before the dots
_PLATE = (0.4, 0.6, 9.2, 9.0)  # x, y, width, height on the 10 x 10 canvas of a panel


@dataclass(frozen=True)
class Traced:
    """Members of one traced structure: their names, the structure, and the geometry (C, H, W) of their images.

    Training may differ and the structure be the same: cures and seeds of one program need one drawing.
    """

    names: tuple[str, ...]
    structure: Mapping[str, Any]
    shape: tuple[int, int, int]

    @property
    def name(self) -> str:
        """All names, as text."""
        return ", ".join(self.names)

    @property
    def title(self) -> str:
        """The names as a panel has room for them: two, and how many more."""
        more = len(self.names) - TITLE_NAMES
        return ", ".join(self.names[:TITLE_NAMES]) + (f"\nand {more} more" if more > 0 else "")

    @property
    def kind(self) -> str:
        """How it generates: ``ancestral``, ``autoregressive`` or ``none``."""
        return str(self.structure["generation"]["kind"])

    @property
    def sites(self) -> list[dict[str, Any]]:
        """The program's sites."""
        return list(self.structure["program"].get("sites", []))

    @property
    def latents(self) -> list[dict[str, Any]]:
        """The sites that are not observed."""
        return [site for site in self.sites if not site["observed"]]


def traced_programs(study: Study) -> list[Traced]:
    """The structures of the members' first runs that have one, each with the members that share it."""
    found: list[Traced] = []
    for member in study.members:
        run = next((run for run in member.runs if run.structure is not None), None)
        if run is None:
            continue
        channels, height, width = (int(size) for size in run.config["shape"])
        new = Traced((member.name,), run.structure, (channels, height, width))
        for place, other in enumerate(found):
            if (other.structure, other.shape) == (new.structure, new.shape):
                found[place] = replace(other, names=(*other.names, member.name))
                break
        else:
            found.append(new)
    return found


def panels(programs: Sequence[Traced], height: float, extra: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure with a panel per program, four in a row, axes hidden.

    Args:
        programs: what the panels are of.
        height: of a row, in inches; 0 for as high as a panel is wide.
        extra: height beside the rows.
    """
    columns = min(COLUMNS, len(programs))
    rows = -(-len(programs) // columns)
    width = panel_width(columns)
    figure = new_figure(width * columns, (height or width) * rows + extra)
    found = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in found:
        axes.set_axis_off()
    return figure, found[: len(programs)]


def graph_figure(programs: Sequence[Traced]) -> Figure:
    """Each program and its guide in plate notation, side by side, four in a row."""
    columns = min(COLUMNS, len(programs))
    figure, drawn = panels(programs, 0, 0.75 if columns > 1 else 1.05)
    for axes, program in zip(drawn, programs, strict=True):
        axes.set(xlim=(0, 10), ylim=(0, 10), aspect="equal")
        axes.set_title(_title(program), loc="center", fontsize=9.5)
        _graph(axes, program)
    figure.legend(handles=_legend(programs), loc="outside lower center", ncols=5 if columns > 1 else 2, fontsize=8)
    return figure


def panel_width(columns: int) -> float:
    """Inches per panel: the page's width shared out, and no wider for a program on its own."""
    return 9.6 / max(3, columns)


def _title(program: Traced) -> str:
    name = str(program.structure["program"].get("name", ""))
    guide = program.structure.get("guide")
    if guide:
        return f"{program.title}\n{name}\nguide {guide['name']}"  # a line each: panels are narrow
    return program.title if name.lower() == program.title.lower() else f"{program.title}\n{name}"


def _graph(axes: Axes, program: Traced) -> None:
    if program.kind == "none" or not program.sites:
        _deterministic(axes, program)
    elif program.kind == "autoregressive":
        _chain(axes, program)
    else:
        _directed(axes, program)


def _directed(axes: Axes, program: Traced) -> None:
    """Any directed acyclic graph of sites, parents above children."""
    nodes = _place_sites(axes, program.sites, top=7.9, bottom=3.0)
    for site in program.sites:
        for parent in site["parents"]:
            if parent in nodes:
                arrow(axes, nodes[parent], nodes[site["name"]])
    _guide_arrows(axes, program, nodes, nodes.get("x"))
    plate(axes, *_PLATE, program.sites)


def _place_sites(axes: Axes, sites: list[dict[str, Any]], top: float, bottom: float) -> dict[str, Circle]:
    """A node per site, in levels by distance from the roots, each with its distribution beside it."""
    depth = {}
    for site in sites:  # sites come in the order they were traced: parents first
        depth[site["name"]] = 1 + max([depth.get(p, -1) for p in site["parents"]], default=-1)
    levels = max(depth.values())
    nodes = {}
    for site in sites:
        level = [other["name"] for other in sites if depth[other["name"]] == depth[site["name"]]]
        x = 3.6 if len(level) == 1 else 2.2 + 5.6 * level.index(site["name"]) / (len(level) - 1)
        y = top - (top - bottom) * depth[site["name"]] / levels if levels else (top + bottom) / 2
        nodes[site["name"]] = node(axes, x, y, f"${site['name']}$", site["observed"])
        if len(level) == 1:
            axes.text(x + 1.15, y, _describe(site), va="center", fontsize=8.5, color=MUTED)
    return nodes


def _describe(site: Mapping[str, Any]) -> str:
    size = "\N{MULTIPLICATION SIGN}".join(str(length) for length in site["shape"]) or "scalar"
    return f"{site['distribution']}\n{size}"


def _guide_arrows(axes: Axes, program: Traced, nodes: Mapping[str, Any], observed: Any | None) -> None:
    """Dashed arrows of the guide; a site whose parents were not traced hangs on x, its argument."""
    guide = program.structure.get("guide")
    for site in (guide or {}).get("sites", []):
        target = nodes.get(site["name"])
        sources = [nodes[p] for p in site["parents"] if p in nodes] or [observed]
        for source in sources:
            if source is not None and target is not None:
                arrow(axes, source, target, dashed=True, bend=-0.45)


def _chain(axes: Axes, program: Traced) -> None:
    """The first pixels of the ordering, the last one, and the arrows from every earlier to every later one."""
    sequence = program.structure["generation"]["ordering"]
    size = program.shape[0] * program.shape[1] * program.shape[2]
    sequence = list(sequence) if len(sequence) == size else list(range(size))
    shown = sequence if size <= CHAIN_SHOWN + 1 else [*sequence[:CHAIN_SHOWN], sequence[-1]]
    places = [1.75, 3.65, 5.55, 8.25][: len(shown)]
    y = 4.2 if program.latents else 5.9
    pixels = [node(axes, x, y, f"$x_{{{i}}}$", True) for x, i in zip(places, shown, strict=True)]
    if len(sequence) > len(shown):
        axes.text(6.9, y, "\N{HORIZONTAL ELLIPSIS}", ha="center", va="center", fontsize=14, color=INK)
    for later in range(1, len(pixels)):
        for earlier in range(later):
            near = later - earlier == 1 and later < CHAIN_SHOWN
            arrow(axes, pixels[earlier], pixels[later], bend=0 if near else -0.5, faint=not near)
    if program.latents:
        latents = _place_sites(axes, program.latents, top=8.2, bottom=7.2)
        for latent in latents.values():
            for pixel in pixels:
                arrow(axes, latent, pixel, faint=True)
        _guide_arrows(axes, program, latents, pixels[0])
    note = f"{size} pixels, each given\nall earlier ones"
    axes.text(5, y - 1.6, note, ha="center", va="center", fontsize=8.5, color=MUTED)
    plate(axes, *_PLATE, program.sites)


def _deterministic(axes: Axes, program: Traced) -> None:
    """A function, not a distribution: squares and no plate."""
    labels = (("$x$", 8.5, OBSERVED), ("code", 6.0, PAPER), (r"$\hat{x}$", 3.5, PAPER))
    boxes = []
    for label, y, colour in labels:
        boxes.append(RegularPolygon((4.4, y), 4, radius=1.0, orientation=0.7854, fc=colour, ec=INK, lw=1.2))
        axes.add_patch(boxes[-1])
        axes.text(4.4, y, label, ha="center", va="center", fontsize=11 if label != "code" else 7.5)
    for above, below in pairwise(boxes):
        arrow(axes, above, below, dotted=True)
    for y, text in ((7.25, "encode"), (4.75, "decode")):
        axes.text(4.9, y, text, va="center", fontsize=8.5, color=MUTED)
    note = "a function: no distribution\nover codes or $x$, no plate"
    axes.text(5, 1.2, note, ha="center", va="center", fontsize=8.5, color=MUTED)


def _legend(programs: Sequence[Traced]) -> list[Line2D]:
    disc = {"ls": "", "marker": "o", "ms": 9, "mec": INK}
    handles = [
        Line2D([], [], mfc=OBSERVED, label="observed", **disc),
        Line2D([], [], mfc=PAPER, label="latent", **disc),
        Line2D([], [], color=INK, lw=1.3, label="generates"),
        Line2D([], [], color=INK, lw=1.3, ls="--", label="infers (guide)"),
    ]
    if any(program.kind == "none" for program in programs):
        handles.append(Line2D([], [], color=INK, lw=1.3, ls=":", label="computes (no probability)"))
    return handles
