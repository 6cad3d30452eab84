"""Images as data: a name or a file in, verified integer images out, a tensor per split on request.

`load_data("digits")` gives an `ImageData`; `data.split("train")` a float32 tensor (N, D) with the
values 0..levels-1. A split becomes a tensor only when it is asked for, so whoever trains never
holds the test images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inference.fetch import load_public
from inference.readers import SPLITS, UNREADABLE, read_npz
from inference.sources import SOURCES, content_digest
from ppl_models.errors import InvalidInput, nearest

_DIGITS_SIZES = (1297, 250, 250)
_DIGITS_DIGESTS = {
    2: "sha256:95d62d32d85b29134e3c39ae6080cfb88f4b1a33a95dfc55df840502790927df",
    17: "sha256:96d2c753fccd914fa3c365c4f0e268954fda1c74d3ca20f1e6cba8213d399200",
}


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images of one data set in three splits, integers 0..levels-1, flat.

    Args:
        name: what the user called it: a key of `DATA_SETS` or a path.
        shape: channels, height and width; an image is flattened in this order.
        levels: number of values a pixel can take.
        digest: `sha256:...` over shape, levels and the pixels of all splits: two numbers about p(x)
            are comparable only if their digests agree.

    Attributes:
        data_dim: D, the number of values per image.
        sizes: number of images in each split.
    """

    name: str
    shape: tuple[int, int, int]
    levels: int
    digest: str
    _splits: Mapping[str, np.ndarray] = field(repr=False)
    _labels: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def data_dim(self) -> int:
        return math.prod(self.shape)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(images) for name, images in self._splits.items()}

    def split(self, name: str) -> Tensor:
        """The images of a split: a new float32 tensor (N, D) with values 0..levels-1, or real ones.

        Raises:
            InvalidInput: there is no such split.
        """
        return torch.from_numpy(self._of(self._splits, name).astype(np.float32))

    def labels(self, name: str) -> Tensor | None:
        """The labels of a split: a new int64 tensor (N,), or None where the set has none.

        Raises:
            InvalidInput: there is no such split.
        """
        if name in self._splits and name not in self._labels:
            return None
        return torch.from_numpy(self._of(self._labels, name).astype(np.int64))

    def _of(self, table: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if name not in self._splits:
            raise InvalidInput("--split", name, "no such split", nearest(name, SPLITS))
        return table[name]


def image_data(
    name: str,
    splits: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray] | None = None,
    *,
    shape: tuple[int, ...] | None = None,
    levels: int | None = None,
) -> ImageData:
    """Checks arrays and makes an `ImageData` of them: the one way in for images from anywhere.

    Args:
        name: what to call them; the errors say it.
        splits: `train`, `valid`, `test` -> array (N, D), (N, H, W) or (N, C, H, W) of whole
            numbers of any type.
        labels: the same names -> whole numbers (N,).
        shape: (D,), (H, W) or (C, H, W); by default what the array says.
        levels: by default 2 if every value is 0 or 1, else 256; 0 for real values, which are kept as they are.

    Raises:
        InvalidInput: a split has fewer than two images, another D than the training split, NaN,
            infinity, values that are not whole or outside 0..levels-1; labels of another length.
    """
    splits = {split: _numbers(name, split, np.asarray(splits[split])) for split in SPLITS}
    geometry = tuple(shape or splits["train"].shape[1:])
    if not 1 <= len(geometry) <= 3 or min(geometry) < 1:
        problem = f"has images of shape {geometry}"
        raise InvalidInput("--data", name, problem, "give (N, D), (N, H, W) or (N, C, H, W)")
    geometry = (1,) * (3 - len(geometry)) + geometry
    if levels is None:
        levels = 2 if all(array.max() <= 1 for array in splits.values()) else 256
    if levels != 0 and not 2 <= levels <= 256:
        raise InvalidInput("--data", name, f"has levels {levels}", "give a number from 2 to 256, or 0 for real values")
    flat = {}
    for split, array in splits.items():
        _check_split(name, split, array, math.prod(geometry), levels)
        flat[split] = array.reshape(len(array), -1).astype(np.uint8 if levels else np.float32)
    return _assemble(name, flat, labels or {}, geometry, levels)


def _numbers(name: str, split: str, array: np.ndarray) -> np.ndarray:
    """Refuses what has no values to speak of, so that later checks may compare them."""
    where = f"split {split!r}"
    if array.ndim < 2 or len(array) < 2:
        problem = f"{where} has the shape {array.shape}: too small"
        raise InvalidInput("--data", name, problem, "give two images at least, as (N, D)")
    if array.dtype.kind not in "buif":
        raise InvalidInput("--data", name, f"{where} holds {array.dtype}", "give numbers")
    if not np.isfinite(array).all():
        raise InvalidInput("--data", name, f"{where} holds NaN or infinity", "remove those images")
    return array


def _check_split(name: str, split: str, array: np.ndarray, dim: int, levels: int) -> None:
    where, size = f"split {split!r}", math.prod(array.shape[1:])
    if size != dim:
        problem = f"{where} has {size} values per image, not {dim}"
        raise InvalidInput("--data", name, problem, "give every split and `shape` the same size")
    if levels == 0:
        return
    low, high = array.min(), array.max()
    if low < 0 or high > levels - 1:
        problem = f"{where} has values from {low} to {high}, outside 0..{levels - 1}"
        raise InvalidInput("--data", name, problem, "rescale them, or store `levels` with them")
    if array.dtype.kind == "f" and (array != np.round(array)).any():
        problem = f"{where} has values that are not whole numbers"
        raise InvalidInput("--data", name, problem, "binarize or round them, or store levels 0 for real values")


def _assemble(
    name: str,
    flat: dict[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    shape: tuple[int, ...],
    levels: int,
) -> ImageData:
    for split, values in labels.items():
        if values.shape != flat[split].shape[:1] or values.dtype.kind not in "bui":
            problem = f"labels of {split!r} are {values.dtype} {values.shape}"
            raise InvalidInput("--data", name, problem, "give one whole number per image")
    for array in flat.values():
        array.flags.writeable = False  # a digest is worth nothing if the pixels can change
    digest = content_digest(f"{shape} {levels}", flat)
    return ImageData(name, shape, levels, digest, flat, dict(labels))


def _digits(data_dir: Path | None, *, levels: int) -> ImageData:
    """scikit-learn's digits, 1797 of 8x8, grey 0..16; binary ones are 1 where grey >= 8.

    That is half intensity. The split is a fixed permutation, cut 1297/250/250.
    """
    from sklearn.datasets import load_digits  # takes a second, and most sets do not need it

    bunch = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0)).numpy()
    grey = bunch.images.reshape(1797, 64)[order].astype(np.uint8)
    images = (grey >= 8).astype(np.uint8) if levels == 2 else grey
    cuts = np.cumsum(_DIGITS_SIZES)[:2]
    splits = dict(zip(SPLITS, np.split(images, cuts), strict=True))
    labels = dict(zip(SPLITS, np.split(bunch.target[order], cuts), strict=True))
    name = "digits" if levels == 2 else "digits-grey"
    data = image_data(name, splits, labels, shape=(1, 8, 8), levels=levels)
    if data.digest != _DIGITS_DIGESTS[levels]:
        problem = "the images or their permutation are not those of the tested versions"
        raise InvalidInput("--data", name, problem, "install the versions in constraints.txt")
    return data


def _public(data_dir: Path | None, *, name: str) -> ImageData:
    images, source = load_public(name, data_dir), SOURCES[name]
    return _assemble(name, images.splits, images.labels, source.shape, source.levels)


def _from_file(path: str) -> ImageData:
    try:
        images = read_npz(Path(path))
    except UNREADABLE as error:
        remedy = "give an .npz with the keys train, valid, test (optional: shape, levels, *_labels)"
        raise InvalidInput("--data", path, str(error), remedy) from error
    return image_data(path, images.splits, images.labels, shape=images.shape, levels=images.levels)


DATA_SETS: dict[str, Callable[[Path | None], ImageData]] = {
    "digits": partial(_digits, levels=2),
    "digits-grey": partial(_digits, levels=17),
    **{name: partial(_public, name=name) for name in SOURCES},
}


def load_data(name: str, data_dir: Path | None = None) -> ImageData:
    """Loads a data set by its name, or from an `.npz` file by its path.

    Args:
        name: a key of `DATA_SETS`, or a path that ends in `.npz`: keys `train`, `valid`, `test`;
            optional `shape`, `levels`, `train_labels`, ...; bits may be packed (see
            `inference.readers.read_npz`).
        data_dir: where to look for the larger sets first; then `$PPL_DATA`, the cache, and the
            public source.

    Raises:
        InvalidInput: one line that names the argument, the value, and the remedy.
    """
    if name in DATA_SETS:
        return DATA_SETS[name](None if data_dir is None else Path(data_dir))
    if name.endswith(".npz"):
        return _from_file(name)
    remedy = f"{nearest(name, DATA_SETS)}, or a path to an .npz"
    raise InvalidInput("--data", name, "no such data set", remedy)
