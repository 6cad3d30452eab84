"""Grids of images: what the programs generate, and what they reconstruct."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.runs import Run, Study
from analysis.style import MUTED, RULE, new_figure

_GAP = 1  # pixels between images


def tile(images: np.ndarray, columns: int, fill: float) -> np.ndarray:
    """Lay (n, H, W, C) images out in rows of ``columns``, a pixel of ``fill`` between them: (rows, cols, C)."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    canvas = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels), fill)
    for number, image in enumerate(images):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas


def as_images(flat: xr.DataArray, attributes: dict) -> np.ndarray:
    """(n, D) flat pixels 0..levels-1 to (n, H, W, C) in [0, 1]; flat order is channel, row, column."""
    size = tuple(int(attributes[name]) for name in ("channels", "height", "width"))
    images = np.asarray(flat, dtype=float).reshape(-1, *size).transpose(0, 2, 3, 1)
    levels = int(attributes["levels"])
    if not levels:  # real values
        low, high = float(images.min()), float(images.max())
        return (images - low) / max(high - low, 1e-12)
    return (images / max(1, levels - 1)).clip(0, 1)  # a density over grey levels draws beyond them


def sample_grids(study: Study, count: int = 36) -> Figure | None:
    """Generated images of each member side by side, first run each; ``None`` if no run has samples."""
    shown = [(m.name, run) for m in study.members if (run := _first(m.runs, "samples")) is not None]
    if not shown:
        return None
    width = 9.6 / max(3, len(shown))
    figure = new_figure(width * len(shown), width + 0.5)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, run) in zip(panels, shown, strict=True):
        images = as_images(run.samples["x"][:count], run.samples.attrs)
        _show(axes, tile(images, int(np.ceil(np.sqrt(len(images)))), np.nan))
        axes.set_title(f"{name}, seed {run.seed}", fontsize=9.5)
        axes.set_xlabel(_how_sampled(run), fontsize=8.5, color=MUTED)
    return figure


def reconstruction_grids(study: Study, count: int = 8) -> Figure | None:
    """Observed images above their reconstructions (means), members side by side; ``None`` if there are none."""
    shown = [(m.name, run) for m in study.members if (run := _first(m.runs, "reconstructions")) is not None]
    if not shown:
        return None
    figure = new_figure(9.6, 1.45 * -(-len(shown) // 2) + 0.1)
    panels = figure.subplots(-(-len(shown) // 2), 2, squeeze=False).ravel()
    for axes, (name, run) in zip(panels, shown, strict=False):
        data = run.reconstructions
        pair = [as_images(data[key][:count], data.attrs) for key in ("x", "reconstruction")]
        canvas = tile(np.concatenate(pair), len(pair[0]), np.nan)
        _show(axes, canvas)
        height = int(data.attrs["height"])
        axes.set_yticks([height / 2 - 0.5, 1.5 * height + _GAP - 0.5], ["observed", "reconstruction\n(mean)"])
        axes.tick_params(length=0, labelsize=8.5)
        axes.set_title(f"{name}, seed {run.seed}", fontsize=9.5)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    return figure


def _first(runs: tuple[Run, ...], part: str) -> Run | None:
    return next((run for run in runs if getattr(run, part) is not None), None)


def _how_sampled(run: Run) -> str:
    attributes = run.samples.attrs
    text = f"method: {attributes['method']}" if "method" in attributes else "generated"
    return f"{text}, {float(attributes['seconds']):.2g} s" if "seconds" in attributes else text


def _show(axes: Axes, canvas: np.ndarray) -> None:
    """One canvas with the gaps in the colour of a rule; grey values 0 to 1, white ink on black as in the data."""
    gaps = np.isnan(canvas).any(axis=-1)
    clipped = np.clip(np.nan_to_num(canvas), 0, 1)
    colour = np.repeat(clipped, 3, axis=-1) if canvas.shape[-1] == 1 else clipped[..., :3]
    colour[gaps] = [int(RULE[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    axes.imshow(colour, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
