"""Files of images: ``samples.nc`` and ``completions.nc`` with their PNGs, ``reconstructions.nc``, and given pixels."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.image import imsave
from torch import Tensor

from ppl_models.errors import InvalidInput

from .completion import Completion
from .readers import UNREADABLE

# What a missing pixel looks like: no grey, so that it is told from a grey level.
MISSING = (0.55, 0.68, 0.86)
# Images and completions of each that ``completions.png`` shows at most; the file holds all.
SHOWN = (40, 16)


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


def compact(images: Tensor, config: Mapping[str, Any]) -> np.ndarray:
    """Whole pixel values in the smallest integer type that holds them; those of a density in float32."""
    if config.get("measure") == "density":
        return images.cpu().numpy().astype(np.float32)
    return images.cpu().numpy().astype(np.uint8 if config["levels"] <= 256 else np.int32)


@contextmanager
def whole(*paths: Path) -> Iterator[list[Path]]:
    """Names to write to: the files come into being when all of them are written, or none does."""
    temporary = [path.with_name(f"{path.name}.tmp") for path in paths]
    try:
        yield temporary
        for written, path in zip(temporary, paths, strict=True):
            os.replace(written, path)
    finally:
        for written in temporary:
            written.unlink(missing_ok=True)


def write_samples(folder: Path, images: Tensor, config: Mapping[str, Any], attrs: Mapping[str, Any]) -> None:
    """``samples.nc`` (sample, pixel) and ``samples.png``, a nearly square grid."""
    array = compact(images, config)
    dataset = xr.Dataset({"x": (("sample", "pixel"), array)}, attrs={**image_attributes(config), **attrs})
    pictures = coloured(array, config["shape"], config["levels"])
    with whole(folder / "samples.nc", folder / "samples.png") as (file, picture):
        dataset.to_netcdf(file, engine="h5netcdf")
        write_grid(picture, pictures, math.ceil(math.sqrt(len(array))))


def write_reconstructions(
    path: Path, index: Sequence[int], x: Tensor, means: Tensor, config: Mapping[str, Any]
) -> None:
    """``reconstructions.nc``: images beside the means that were reconstructed from their codes."""
    columns = {
        "x": (("image", "pixel"), compact(x, config)),
        "reconstruction": (("image", "pixel"), means.float().cpu().numpy()),
    }
    dataset = xr.Dataset(columns, {"image": list(index)}, image_attributes(config))
    with whole(path) as (file,):
        dataset.to_netcdf(file, engine="h5netcdf")


def write_completions(
    folder: Path, x: Tensor, completion: Completion, config: Mapping[str, Any], attrs: Mapping[str, Any]
) -> None:
    """``completions.nc`` (image, draw, pixel) and ``completions.png``, a row per image: as given, then completed.

    Args:
        folder: of the run.
        x: (N, D), read where it was given.
        completion: what was drawn.
        config: of the run.
        attrs: further attributes.
    """
    drawn = compact(completion.x.transpose(0, 1), config)
    observed = completion.observed.cpu().numpy()
    given = np.where(observed, x.cpu().numpy(), np.nan).astype(np.float32)
    numbers = ("log_evidence", "ess", "ess_final", "lineages")
    columns = {
        "x": (("image", "draw", "pixel"), drawn),
        "observed": (("image", "pixel"), observed.astype(np.uint8)),
        "given": (("image", "pixel"), given),
        **{name: ("image", getattr(completion, name).cpu().numpy()) for name in numbers},
    }
    words = {"claim": [str(claim) for claim in completion.claim], "reason": list(completion.reason)}
    coords = {"image": np.arange(len(x)), **{name: ("image", values) for name, values in words.items()}}
    dataset = xr.Dataset(columns, coords, {**image_attributes(config), **attrs, "units": "nats"})
    rows = [completion_row(*row, config) for row in zip(given[: SHOWN[0]], drawn[: SHOWN[0], : SHOWN[1]], strict=True)]
    with whole(folder / "completions.nc", folder / "completions.png") as (file, picture):
        dataset.to_netcdf(file, engine="h5netcdf")
        write_grid(picture, np.concatenate(rows), len(rows[0]), margin=3)


def completion_row(given: np.ndarray, drawn: np.ndarray, config: Mapping[str, Any]) -> np.ndarray:
    """The pictures of one image: given (D,) with NaN where missing, then its completions (draw, D)."""
    missing = np.isnan(given).reshape(config["shape"]).any(0)
    images = np.concatenate([np.nan_to_num(given)[None], drawn])
    pictures = coloured(images, config["shape"], config["levels"])
    pictures[0, missing] = MISSING
    return pictures


def coloured(images: np.ndarray, shape: Sequence[int], levels: int) -> np.ndarray:
    """Images (n, D) as pictures (n, H, W, 3), 0..1: one channel is shown as grey; of more than three, the first
    three. Real values (``levels`` 0) are stretched between the smallest and the largest of all; draws of a density over
    grey levels are cut to their range."""
    channels, height, width = shape
    low, high = (0, levels - 1) if levels else (np.nanmin(images), np.nanmax(images))
    images = np.clip((images - low) / max(high - low, 1e-12), 0, 1).reshape(-1, channels, height, width)[:, :3]
    pictures = np.ones((len(images), height, width, 3), dtype=np.float32)
    pictures[..., : 3 if channels == 1 else channels] = images.transpose(0, 2, 3, 1)
    return pictures


def write_grid(path: Path, pictures: np.ndarray, columns: int, scale: int = 4, margin: int = 0) -> None:
    """A PNG of pictures (n, H, W, 3) in so many columns, one pixel of white between them, each pixel ``scale`` wide;
    ``margin`` more pixels of white after the first column."""
    height, width = pictures.shape[1:3]
    rows = math.ceil(len(pictures) / columns)
    grid = np.ones((rows * (height + 1) + 1, columns * (width + 1) + 1 + margin, 3), dtype=np.float32)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * (height + 1) + 1, column * (width + 1) + 1 + margin * (column > 0)
        grid[top : top + height, left : left + width] = picture
    imsave(path, np.kron(grid, np.ones((scale, scale, 1), dtype=np.float32)), dpi=72, format="png")


def read_given(path: Path, data_dim: int) -> tuple[Tensor, Tensor]:
    """Images with missing pixels: ``x`` (N, D), (N, H, W) or (N, C, H, W) and ``observed`` of that shape or of one
    image's, as x (N, D) in float64 and observed (N, D) or (D,) bool.

    Raises:
        InvalidInput: if the file cannot be read, lacks an array, or holds ones of another form.
    """
    remedy = "give an .npz with x (N, D) and observed (N, D) or (D,), 1 where a pixel is given"
    try:
        arrays = _arrays(path, ("x", "observed"))
    except UNREADABLE as error:
        raise InvalidInput("--given", str(path), " ".join(str(error).split())[:200], remedy) from error
    x, observed = arrays["x"], arrays["observed"]
    problem = ""
    if any(array.dtype.kind not in "buif" for array in (x, observed)):
        problem = f"x and observed hold {x.dtype} and {observed.dtype}, not numbers"
    elif x.ndim < 2 or math.prod(x.shape[1:]) != data_dim or not len(x):
        problem = f"x has shape {x.shape}, the program is over images of {data_dim} pixels"
    elif observed.shape not in (x.shape, x.shape[1:], (len(x), data_dim), (data_dim,)):
        problem = f"observed has shape {observed.shape}, x {x.shape}"
    elif not np.isin(observed, (0, 1)).all():
        problem = f"observed holds {observed[~np.isin(observed, (0, 1))][0]}, neither 0 nor 1"
    if problem:
        raise InvalidInput("--given", str(path), problem, remedy)
    shape = (-1, data_dim) if observed.size == x.size else (data_dim,)
    images = torch.from_numpy(x.reshape(-1, data_dim).astype(np.float64))
    return images, torch.from_numpy(observed.reshape(shape).astype(bool))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Named arrays of an undamaged ``.npz``."""
    if not zipfile.is_zipfile(path):  # opens the file: a missing one answers False
        raise ValueError("is no .npz file, or was cut off" if Path(path).exists() else "does not exist")
    with zipfile.ZipFile(path) as file:
        if file.testzip() is not None:
            raise ValueError(f"is damaged at {file.testzip()}")
    with np.load(path, allow_pickle=False) as archive:
        missing = [name for name in names if name not in archive]
        if missing:
            raise ValueError(f"has no array {', '.join(missing)} (it has {', '.join(archive.files) or 'none'})")
        return {name: archive[name] for name in names}
