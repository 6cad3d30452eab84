"""Files of images: ``samples.nc`` with its PNG, and ``reconstructions.nc``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.image import imsave
from torch import Tensor


def image_attributes(config: Mapping[str, Any]) -> dict[str, str | int]:
    """Geometry and origin of a run's images."""
    channels, height, width = config["shape"]
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "levels": config["levels"],
        "program": config["program"],
        "data": config["data"],
        "data_digest": config["data_digest"],
        "seed": config["seed"],
    }


def compact(images: Tensor, levels: int) -> np.ndarray:
    """Whole pixel values in the smallest integer type that holds them."""
    return images.cpu().numpy().astype(np.uint8 if levels <= 256 else np.int32)


def write_dataset(path: Path, dataset: xr.Dataset) -> None:
    """Write a netCDF file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    dataset.to_netcdf(temporary, engine="h5netcdf")
    os.replace(temporary, path)


def write_samples(folder: Path, images: Tensor, config: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
    """``samples.nc`` (sample, pixel) and ``samples.png``."""
    attributes = {**image_attributes(config), **attrs}
    array = compact(images, config["levels"])
    write_dataset(folder / "samples.nc", xr.Dataset({"x": (("sample", "pixel"), array)}, attrs=attributes))
    write_grid(folder / "samples.png", array, config["shape"], config["levels"])


def write_reconstructions(
    path: Path, index: Sequence[int], x: Tensor, means: Tensor, config: Mapping[str, Any]
) -> None:
    """``reconstructions.nc``: images beside the means that were reconstructed from their codes."""
    columns = {
        "x": (("image", "pixel"), compact(x, config["levels"])),
        "reconstruction": (("image", "pixel"), means.float().cpu().numpy()),
    }
    write_dataset(path, xr.Dataset(columns, {"image": list(index)}, image_attributes(config)))


def write_grid(path: Path, images: np.ndarray, shape: Sequence[int], levels: int, scale: int = 4) -> None:
    """A PNG with all images in a nearly square grid, one pixel of white between them, each pixel ``scale`` wide."""
    channels, height, width = shape
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    grid = np.ones((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), dtype=np.float32)
    for number, image in enumerate(images.reshape(-1, channels, height, width) / (levels - 1)):
        top, left = (number // columns) * (height + 1) + 1, (number % columns) * (width + 1) + 1
        # One channel is shown as grey; of more than three, the first three.
        colours = np.repeat(image, 3, 0) if channels == 1 else image[:3]
        grid[top : top + height, left : left + width, : len(colours)] = colours.transpose(1, 2, 0)
    imsave(path, np.kron(grid, np.ones((scale, scale, 1), dtype=np.float32)), dpi=72)
