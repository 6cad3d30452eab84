"""Reading the files of a run folder, each with one clear error when it is missing or malformed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from analysis.errors import InvalidInput

SCHEMA = "docs/files.md"


def read_json(path: Path, required: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """A JSON object with the required keys, each of the named type.

    Raises:
        InvalidInput: the file is missing, is no JSON object, or lacks a key, or a key has another type.
    """
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InvalidInput(str(path), f"line {error.lineno}", "is not JSON", _rewrite(path)) from error
    check_keys(path, content, required)
    return content


def read_json_lines(path: Path, required: Mapping[str, type | tuple[type, ...]]) -> list[dict]:
    """One JSON object per line; empty lines are skipped, a broken line is an error with its number."""
    records = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidInput(str(path), f"line {number}", "is not JSON", _rewrite(path)) from error
        check_keys(path, record, required, where=f"line {number}: ")
        records.append(record)
    if not records:
        raise InvalidInput(str(path), "(empty)", "holds no record", _rewrite(path))
    return records


def read_dataset(path: Path, variables: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    """A netCDF file, loaded into memory and closed, with the named variables over the named dimensions.

    Args:
        path: the file.
        variables: name to dimensions, in this order; coordinates are listed like variables.

    Raises:
        InvalidInput: the file is missing or unreadable, or a variable is missing or has other dimensions.
    """
    if not path.is_file():
        raise InvalidInput(str(path), "(missing)", "there is no such file", _rewrite(path))
    try:
        with xr.open_dataset(path, engine="h5netcdf") as opened:
            dataset = opened.load()
    except (OSError, ValueError, KeyError) as error:
        problem = f"is not a readable netCDF file ({type(error).__name__})"
        raise InvalidInput(str(path), "(content)", problem, _rewrite(path)) from error
    for name, dims in variables.items():
        if name not in dataset.variables:
            raise InvalidInput(str(path), name, "this variable is missing", f"write it as in {SCHEMA}")
        if dataset[name].dims != dims:
            problem = f"has dimensions {dataset[name].dims}, not {dims}"
            raise InvalidInput(str(path), name, problem, f"write it as in {SCHEMA}")
    return dataset


def check_keys(
    path: Path,
    content: object,
    required: Mapping[str, type | tuple[type, ...]],
    where: str = "",
) -> None:
    """That ``content`` is a JSON object with the required keys and types."""
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise InvalidInput(str(path), f"{where}{kind}", "is not a JSON object", _rewrite(path))
    for key, kind in required.items():
        if key not in content:
            remedy = f"write it as in {SCHEMA}"
            raise InvalidInput(str(path), f"{where}{key}", "this key is missing", remedy)
        if not isinstance(content[key], kind):
            problem = f"has the type {type(content[key]).__name__}"
            raise InvalidInput(str(path), f"{where}{key}", problem, f"write it as in {SCHEMA}")


def _text(path: Path) -> str:
    if not path.is_file():
        raise InvalidInput(str(path), "(missing)", "there is no such file", _rewrite(path))
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(str(path), "(content)", "is not text", _rewrite(path)) from error


def _rewrite(path: Path) -> str:
    """The command that makes the file."""
    return f"make it again with: {MAKERS.get(path.name, MAKERS['config.json'])}"


# What writes each file of a run; the report prints the same commands for parts that are missing.
MAKERS = {
    "config.json": "python -m inference.train",
    "structure.json": "python -m inference.train",
    "history.jsonl": "python -m inference.train",
    "evidence.nc": "python -m inference.evaluate",
    "evidence-valid.nc": "python -m inference.evaluate --split valid",
    "sandwich.nc": "python -m inference.evaluate",
    "latents.nc": "python -m inference.evaluate",
    "collapse.nc": "python -m inference.evaluate --collapse",
    "reconstructions.nc": "python -m inference.evaluate",
    "samples.nc": "python -m inference.sample",
    "posterior.nc": "python -m inference.posterior",
    "calibration.nc": "python -m inference.evaluate --sbc",
    "gap.nc": "python -m inference.evaluate --gap",
    "study.json": "python -m inference.study",
}
