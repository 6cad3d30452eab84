"""Readers of image files: `.npz`, the idx files of MNIST, the text files of binarized MNIST.

They say what a file holds and judge nothing but its form: a file that cannot be read whole raises
one of `UNREADABLE`.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# What a missing, truncated, corrupt or foreign file raises on the way through zip, gzip and NumPy;
# RuntimeError is zipfile's word for damage that looks like encryption or an unknown compression.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
)

SPLITS = ("train", "valid", "test")
_IDX_TRAINING = 50_000  # of the 60,000 public training images; the last 10,000 validate


@dataclass(frozen=True)
class Images:
    """What a set of files holds, unjudged.

    Args:
        splits: `train`, `valid`, `test` -> array (N, D), (N, H, W) or (N, C, H, W) of any type.
        labels: the same names -> array (N,), where there are labels.
        shape: what the file says of its geometry: (D,), (H, W) or (C, H, W); None if nothing.
        levels: what the file says of the number of values per pixel; None if nothing.
    """

    splits: dict[str, np.ndarray]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    levels: int | None = None


def read_files(folder: Path, names: Iterable[str]) -> Images:
    """Reads one data set from the named files of a folder, by the kind of the first.

    Raises:
        UNREADABLE: a file is missing, truncated, corrupt or of another kind.
    """
    paths = [Path(folder) / name for name in names]
    if paths[0].suffix == ".npz":
        return read_npz(paths[0])
    if paths[0].suffix == ".amat":
        return Images({name: _read_amat(path) for name, path in zip(SPLITS, paths, strict=True)})
    images, labels, test_images, test_labels = (_read_idx(path) for path in paths)
    return Images(
        {"train": images[:_IDX_TRAINING], "valid": images[_IDX_TRAINING:], "test": test_images},
        {"train": labels[:_IDX_TRAINING], "valid": labels[_IDX_TRAINING:], "test": test_labels},
    )


def read_npz(path: Path) -> Images:
    """Reads the keys `train`, `valid`, `test` (or `train_data`, ..., as MADE's files call them).

    Optional keys: `shape`, `levels`, `train_labels` and the like. Bits are unpacked where the array
    is uint8, two-dimensional and ceil(D / 8) wide, D being the product of `shape`.

    Raises:
        ValueError: a split is missing; the message names the keys that are there.
        UNREADABLE: the file is missing, truncated, corrupt or no `.npz`.
    """
    if not zipfile.is_zipfile(path):  # opens the file: a missing one answers False
        problem = "is no .npz file, or was cut off" if Path(path).exists() else "does not exist"
        raise ValueError(problem)
    _check_zip(path)
    with np.load(path, allow_pickle=False) as archive:
        keys = {name: name if name in archive else f"{name}_data" for name in SPLITS}
        missing = [name for name, key in keys.items() if key not in archive]
        if missing:
            has = f"it has {', '.join(archive.files) or 'none'}"
            raise ValueError(f"has no key {', '.join(missing)} ({has})")
        shape = _whole(archive["shape"]) if "shape" in archive else None
        return Images(
            {name: _unpacked(archive[key], shape) for name, key in keys.items()},
            {name: archive[f"{name}_labels"] for name in SPLITS if f"{name}_labels" in archive},
            shape,
            _whole(archive["levels"])[0] if "levels" in archive else None,
        )


def _check_zip(path: Path) -> None:
    """Refuses a damaged archive as a whole: a damaged name would pass for an absent `shape`."""
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
        # a damaged length lets one entry of the table of contents swallow the next
        swallowed = any(b"PK\x01\x02" in info.extra + info.comment for info in file.infolist())
    if damaged is not None or swallowed:
        raise ValueError(f"is damaged at {damaged or 'its table of contents'}")


def write_npz(path: Path, images: Images) -> None:
    """Writes what `read_npz` reads, in uint8, bits packed."""
    arrays = {f"{name}_labels": labels for name, labels in images.labels.items()}
    for name, array in images.splits.items():
        arrays[name] = np.packbits(array, axis=1) if images.levels == 2 else array
    arrays["shape"], arrays["levels"] = np.array(images.shape), np.array(images.levels)
    with open(path, "wb") as file:  # a file object: np.savez adds no suffix to its name
        np.savez_compressed(file, **arrays)


def _whole(array: np.ndarray) -> tuple[int, ...]:
    if array.dtype.kind not in "ui" or array.size == 0:
        raise ValueError(f"shape and levels are whole numbers, not {array.dtype} {array.shape}")
    return tuple(int(n) for n in array.ravel())


def _unpacked(array: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    dim = math.prod(shape) if shape else 0
    packed = dim > 1 and array.dtype == np.uint8 and array.ndim == 2
    if packed and array.shape[1] == -(-dim // 8):
        return np.unpackbits(array, axis=1, count=dim)
    return array


def _read_idx(path: Path) -> np.ndarray:
    """One idx file of bytes: two zeros, a type, the number of dims, their sizes, the values."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    zeros, kind, dims = struct.unpack_from(">HBB", raw) if len(raw) >= 4 else (None, None, 0)
    head = 4 + 4 * dims
    if zeros != 0 or kind != 8 or len(raw) < head:
        raise ValueError(f"{path.name} is no idx file of bytes")
    sizes = struct.unpack_from(f">{dims}I", raw, 4)
    if len(raw) - head != math.prod(sizes):
        raise ValueError(f"{path.name} was cut off: {len(raw) - head} of {math.prod(sizes)} bytes")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(sizes)


def _read_amat(path: Path, dim: int = 784) -> np.ndarray:
    """One text file of zeros and ones between white space, 784 on a line."""
    text = np.frombuffer(path.read_bytes(), np.uint8)
    values = text[text > ord(" ")] - ord("0")
    if values.size == 0 or values.size % dim or values.max() > 1:
        raise ValueError(f"{path.name} does not hold lines of {dim} zeros and ones, or was cut off")
    return values.reshape(-1, dim)
