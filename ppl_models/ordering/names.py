"""The names of orderings: those that the geometry of an image decides, and those that are found from images.

To add one, write the function and its line in one of the two tables. A name carries the function's own option after a
colon, if it has one: ``"random:7"``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ..errors import InvalidInput, nearest
from .base import Ordering
from .from_data import by_entropy, by_mutual_information
from .geometric import backwards, columns, hilbert, random, raster, shifted, snake, spiral
from .search import local_search, optimal

# (data_dim, [own option,] [shape])
ORDERINGS: dict[str, Callable[..., Ordering]] = {
    "raster": raster,
    "reversed": backwards,
    "shifted": shifted,
    "random": random,
    "columns": columns,
    "snake": snake,
    "spiral": spiral,
    "hilbert": hilbert,
}


def _by_entropy(x_train: Tensor, x_valid: Tensor, levels: int) -> Ordering:
    return by_entropy(x_train, levels)


def _by_mutual_information(x_train: Tensor, x_valid: Tensor, levels: int, method: str = "greedy") -> Ordering:
    return by_mutual_information(x_train, levels, method)


def _optimal(x_train: Tensor, x_valid: Tensor, levels: int) -> Ordering:
    return optimal(x_train, x_valid)


def _local_search(x_train: Tensor, x_valid: Tensor, levels: int, swaps: int = 500) -> Ordering:
    return local_search(x_train, x_valid, num_swaps=swaps).ordering


# (x_train, x_valid, levels, [own option]): computed from the training images; a search is scored on validation images.
DATA_ORDERINGS: dict[str, Callable[..., Ordering]] = {
    "by_entropy": _by_entropy,
    "by_mutual_information": _by_mutual_information,
    "optimal": _optimal,
    "local_search": _local_search,
}
GIVEN = ("data_dim", "shape", "x_train", "x_valid", "levels")


def as_ordering(spec: Ordering | str | Sequence[int], data_dim: int, shape: Sequence[int] | None = None) -> Ordering:
    """An ordering of D pixels from a name, a sequence of pixel indices, or an ordering.

    Args:
        spec: an ``Ordering``, its pixel indices, or one of ``"raster"``, ``"reversed"``, ``"shifted:3"``,
            ``"random:7"`` (the seed), ``"columns"``, ``"snake"``, ``"spiral"``, ``"spiral:out"`` and ``"hilbert"``;
            without its option ``shifted`` shifts by 1 and ``random`` has the seed 0.
        data_dim: D.
        shape: (C, H, W), for names that know of rows and columns; a square if D is one, else a row. The channels of a
            place come one after the other.

    Raises:
        InvalidInput: for an unknown name or option, a name that takes images to find, no permutation, the wrong length,
            or a shape of another D.
    """
    if isinstance(spec, str):
        return _from_geometry(spec, data_dim, shape)
    if not isinstance(spec, Ordering):
        spec = Ordering(spec)
    if len(spec) != data_dim:
        problem = f"the images have {data_dim} pixels"
        raise InvalidInput("ordering", f"{len(spec)} entries", problem, "order all pixels")
    return spec


def _from_geometry(spec: str, data_dim: int, shape: Sequence[int] | None) -> Ordering:
    name = spec.partition(":")[0]
    if name in DATA_ORDERINGS:
        problem = "is found from images, and none are given"
        remedy = f"compute it with ppl_models.ordering.{name}, or name it to python -m inference.train"
        raise InvalidInput("ordering", spec, problem, remedy)
    option = read_option(spec, ORDERINGS)
    sized = {"shape": shape} if "shape" in inspect.signature(ORDERINGS[name]).parameters else {}
    return ORDERINGS[name](data_dim, **option, **sized)


def is_from_images(spec: object) -> bool:
    """Whether this is a name, readable or not, of an ordering that takes images to find."""
    return isinstance(spec, str) and spec.partition(":")[0] in DATA_ORDERINGS


def from_images(spec: str, x_train: Tensor, x_valid: Tensor, levels: int = 2) -> Ordering:
    """The ordering that a name of ``DATA_ORDERINGS`` finds: ``"by_entropy"``, ``"by_mutual_information"``,
    ``"by_mutual_information:chow_liu"``, ``"optimal"``, ``"local_search:SWAPS"``.

    Args:
        spec: the name.
        x_train: images (N, D) to find it from.
        x_valid: images (M, D) that the searches score on.
        levels: number of values of a pixel.

    Raises:
        InvalidInput: for an unknown name or option, or images that it does not take.
    """
    option, name = read_option(spec, DATA_ORDERINGS), spec.partition(":")[0]
    return DATA_ORDERINGS[name](x_train, x_valid, levels, **option)


def read_option(spec: str, table: dict[str, Callable[..., Ordering]]) -> dict[str, Any]:
    """The option of a name of a table, ``{"seed": 7}`` for ``random:7``; empty if the name stands alone.

    Raises:
        InvalidInput: for an unknown name, an option the function does not have, or one that is no whole number where
            one is meant.
    """
    name, colon, text = spec.partition(":")
    if name not in table:
        raise InvalidInput("ordering", spec, "unknown", nearest(name, [*ORDERINGS, *DATA_ORDERINGS]))
    own = _own(table[name])
    if not colon:
        return {}
    if own is None or not text or (isinstance(own.default, int) and not _is_count(text)):
        raise InvalidInput("ordering", spec, "unreadable", f"write {', '.join(map(_usage, table.items()))}")
    return {own.name: type(own.default)(text)}


def _own(function: Callable[..., Ordering]) -> inspect.Parameter | None:
    """The one option that a name may carry."""
    return next((p for name, p in inspect.signature(function).parameters.items() if name not in GIVEN), None)


def _is_count(text: str) -> bool:
    """A whole number of a length that fits any seed."""
    return text.isascii() and text.isdecimal() and len(text) <= 20


def _usage(entry: tuple[str, Callable[..., Ordering]]) -> str:
    own = _own(entry[1])
    return entry[0] if own is None else f"{entry[0]}:{own.name.upper()}"
