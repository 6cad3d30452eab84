"""One look for all figures, set for the figure alone: importing or plotting changes no global rcParam or backend."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from analysis.claims import Claim

INK, MUTED, RULE, PAPER = "#1f2430", "#5d6675", "#d5dae1", "#ffffff"
OBSERVED = "#c9d1dc"

# The Okabe-Ito palette, told apart with every common colour vision, and by shape as well.
CLAIM_COLOUR = {
    Claim.EXACT: "#0072b2",
    Claim.NUMERICAL: "#009e73",
    Claim.LOWER_BOUND: "#d55e00",
    Claim.UPPER_BOUND: "#cc79a7",
    Claim.ESTIMATE: "#8a8f99",
    Claim.NONE: "#8a8f99",
}
CLAIM_MARKER = {
    Claim.EXACT: "o",
    Claim.NUMERICAL: "s",
    Claim.LOWER_BOUND: ">",
    Claim.UPPER_BOUND: "<",
    Claim.ESTIMATE: "D",
    Claim.NONE: "x",
}
MEMBER_COLOURS = ("#3b6ea8", "#c1662f", "#5a8f5c", "#8d5a97", "#a08a2d", "#4b8b9b", "#9c4a56", "#6b7280")

_RC = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "svg.hashsalt": "analysis",
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Picture:
    """A drawn figure, ready for an HTML page or a file.

    Attributes:
        content: the bytes.
        mime: ``image/svg+xml`` or ``image/png``.
        alt: what it shows, for those who do not see it.
        width: in CSS pixels.
    """

    content: bytes
    mime: str
    alt: str
    width: int

    @property
    def data_uri(self) -> str:
        """The picture inside a URL, so that the page needs no other file."""
        return f"data:{self.mime};base64,{base64.b64encode(self.content).decode()}"


@contextmanager
def house_style() -> Iterator[None]:
    """The look of all figures; draw and save within it."""
    with mpl.rc_context(_RC):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure that belongs to no global state (no pyplot), sizes in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def as_picture(figure: Figure, alt: str, raster: bool = False) -> Picture:
    """Render a figure: SVG with outlined text, or PNG at 160 dpi for grids of pixels. Deterministic.

    Args:
        figure: what to render; call within `house_style`.
        alt: the text for those who do not see it.
        raster: PNG instead of SVG.
    """
    buffer = io.BytesIO()
    if raster:
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    else:
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    width = round(figure.get_figwidth() * 96)
    return Picture(buffer.getvalue(), "image/png" if raster else "image/svg+xml", alt, width)


def member_colours(names: list[str]) -> dict[str, str]:
    """A colour per member, by its place in the study: the ninth has a lighter shade of the first, the 17th a darker."""
    count = len(MEMBER_COLOURS)
    return {name: _shade(MEMBER_COLOURS[i % count], (i // count) % 3) for i, name in enumerate(names)}


def _shade(colour: str, turn: int) -> str:
    """The colour itself, half way to white, or a third of the way to black."""
    target, share = ((0.0, 0.0), (1.0, 0.5), (0.0, 0.35))[turn]
    return to_hex([part + share * (target - part) for part in to_rgb(colour)])


def light_grid(axes: Axes, which: str = "x") -> None:
    """Thin grid lines behind the marks, along one axis."""
    axes.grid(True, axis=which)
    axes.tick_params(length=0, axis="y" if which == "x" else "x")
