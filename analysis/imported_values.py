"""Numbers from another framework: a column of a CSV file or a variable of a netCDF file, read without guessing."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from analysis.errors import InvalidInput

UNITS = ("nats", "bits", "bits_per_dim")
DEFAULT_COLUMN, IMAGE_COLUMN = "log_evidence", "image"


@dataclass(frozen=True, eq=False)
class Column:
    """What was read, as it stands in the file.

    Attributes:
        rows: what each entry is called in messages: ``line 7``, ``entry 5``.
        values: (N,) as written, unit and sign unchanged.
        stderr: (N,) likewise, or ``None`` where none was asked for.
        images: (N,) indices in the split, or ``None`` where the file has none.
    """

    rows: tuple[str, ...]
    values: np.ndarray
    stderr: np.ndarray | None
    images: np.ndarray | None


def read_column(path: Path, column: str = DEFAULT_COLUMN, stderr: str | None = None, units: str = "nats") -> Column:
    """Per-image numbers of one column or variable.

    Args:
        path: ``.csv`` with a header line, or ``.nc``.
        column: which column or one-dimensional variable.
        stderr: the one with Monte Carlo standard errors, if any.
        units: those that were declared; a netCDF attribute ``units`` must agree.

    A column (or coordinate) ``image`` holds the indices in the split; without it the rows are in the split's order.

    Raises:
        InvalidInput: the file, a column or an entry cannot be used; entries are named by their line.
    """
    if not path.is_file():
        raise InvalidInput("FILE", path, "there is no such file", "give a .csv or .nc file")
    if path.suffix not in (".csv", ".nc"):
        raise InvalidInput("FILE", path, "is neither .csv nor .nc", "write it as one of the two")
    wanted = [column] if stderr is None else [column, stderr]
    rows, arrays = _from_csv(path, wanted) if path.suffix == ".csv" else _from_netcdf(path, wanted, units)
    if not rows:
        raise InvalidInput("FILE", path, "holds no numbers", "write one row per image")
    images = arrays.get(IMAGE_COLUMN)
    for name in wanted:
        _check_finite(path, name, rows, arrays[name])
    if stderr is not None and (negative := np.flatnonzero(~(arrays[stderr] >= 0))).size:
        raise InvalidInput(str(path), rows[negative[0]], "has a negative standard error", "write it without a sign")
    whole = None if images is None else _as_indices(path, rows, images)
    return Column(tuple(rows), arrays[column], None if stderr is None else arrays[stderr], whole)


def in_nats(values: np.ndarray, units: str, data_dim: int) -> np.ndarray:
    """Values times ln 2 for bits, times D ln 2 for bits per dimension; the sign is left as it is."""
    return values * {"nats": 1.0, "bits": math.log(2), "bits_per_dim": data_dim * math.log(2)}[units]


def _from_csv(path: Path, wanted: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = _header(path, reader.fieldnames, wanted)
            names = [*wanted, *({IMAGE_COLUMN} & set(header))]
            rows: list[str] = []
            columns: dict[str, list[float]] = {name: [] for name in names}
            for record in reader:
                rows.append(f"line {reader.line_num}")
                _append(path, rows[-1], record, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            "FILE", path, f"is not a readable CSV file ({error})", "write it with commas, in UTF-8"
        ) from error
    return rows, {name: np.array(entries) for name, entries in columns.items()}


def _header(path: Path, header: Sequence[str] | None, wanted: Sequence[str]) -> Sequence[str]:
    if not header:
        raise InvalidInput("FILE", path, "is empty", "write a header line and one row per image")
    if all(_is_number(name) for name in header):
        raise InvalidInput(str(path), "line 1", "is no header", f"name the columns in it: {DEFAULT_COLUMN},...")
    if len(set(header)) < len(header):
        raise InvalidInput(str(path), "line 1", "names a column twice", "give each its own name")
    for name in wanted:
        _check_known(path, name, header)
    return header


def _append(path: Path, row: str, record: dict, columns: dict[str, list[float]]) -> None:
    """One line's numbers; a line of another length would shift them (a decimal comma does)."""
    if None in record or None in record.values():
        raise InvalidInput(str(path), row, "has another number of columns than the header", "write 1.5, not 1,5")
    for name, entries in columns.items():
        text = record[name].strip()
        if not _is_number(text):
            problem = f"is no number in column {name}" if text else f"is empty in column {name}"
            raise InvalidInput(str(path), f"{row} {text!r}", problem, "write a number for every image")
        entries.append(float(text))


def _from_netcdf(path: Path, wanted: Sequence[str], units: str) -> tuple[list[str], dict[str, np.ndarray]]:
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            dataset = opened.load()
    except (OSError, ValueError, KeyError) as error:
        problem = f"is not a readable netCDF file ({type(error).__name__})"
        raise InvalidInput("FILE", path, problem, "write it with xarray's h5netcdf engine") from error
    for name in wanted:
        _check_known(path, name, [str(known) for known in dataset.data_vars])
        if dataset[name].ndim != 1:
            problem = f"has dimensions {dataset[name].dims}"
            raise InvalidInput(str(path), name, problem, "write one number per image, one estimator at a time")
        if dataset[name].dtype.kind not in "fiu":
            raise InvalidInput(str(path), name, f"is of type {dataset[name].dtype}", "write floating point numbers")
    first = dataset[wanted[0]]
    if any(dataset[name].dims != first.dims for name in wanted):
        raise InvalidInput(str(path), " ".join(wanted), "lie on different dimensions", "write both over image")
    said = first.attrs.get("units", dataset.attrs.get("units", units))
    if said != units:
        raise InvalidInput("--units", units, f"the file says units {said}", f"give --units {said}, or correct the file")
    names = [*wanted, *({IMAGE_COLUMN} & set(map(str, first.coords)))]
    return [f"entry {i}" for i in range(first.size)], {name: dataset[name].values.astype(float) for name in names}


def _check_known(path: Path, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InvalidInput("--column", name, f"is not in {path.name}", f"it has: {', '.join(known)}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, no other program writes it


def _check_finite(path: Path, name: str, rows: Sequence[str], values: np.ndarray) -> None:
    """NaN is no value, and of the infinities only one has a meaning here, whose sign is not known yet."""
    bad = np.flatnonzero(np.isnan(values))
    if bad.size:
        more = f" (and {bad.size - 1} more)" if bad.size > 1 else ""
        raise InvalidInput(str(path), rows[bad[0]], f"is NaN in {name}{more}", "evaluate that image again")


def _as_indices(path: Path, rows: Sequence[str], images: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~(np.isfinite(images) & (images == np.rint(images)) & (images >= 0)))
    if bad.size:
        value = f"{rows[bad[0]]} {images[bad[0]]:g}"
        raise InvalidInput(str(path), value, "is no image index", "write whole numbers from 0, the place in the split")
    whole = images.astype(int)
    seen, first = np.unique(whole, return_index=True)
    if seen.size < whole.size:
        again = min(set(range(whole.size)) - set(first.tolist()))
        raise InvalidInput(str(path), rows[again], f"names image {whole[again]} again", "write one row per image")
    return whole
