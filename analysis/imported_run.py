"""The run folder of imported numbers: what they are about, and where they may be written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.claims import Claim
from analysis.errors import InvalidInput
from analysis.evidence import evidence_name, read_evidence
from analysis.runs import read_config

_GIVEN = ("data", "data_digest", "levels", "data_dim", "num_images")


@dataclass(frozen=True, eq=False)
class Subject:
    """What the numbers are about; it must agree for numbers to be compared.

    Attributes:
        data, data_digest: the data set's name, and the digest of its images as in a run's ``config.json``.
        levels: number of grey levels; 0 for real values.
        data_dim: number of pixels D.
        images: (N,) indices of the split, ascending.
        split: ``test``, ``valid`` or ``train``.
        measure: ``mass`` or ``density``.
        shape: (C, H, W).
    """

    data: str
    data_digest: str
    levels: int
    data_dim: int
    images: np.ndarray
    split: str = "test"
    measure: str = "mass"
    shape: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Row:
    """One estimator's line: per-image nats (N,), NaN where not evaluated, with their claim."""

    estimator: str
    claim: Claim
    nats: np.ndarray
    stderr: np.ndarray
    num_particles: int
    tolerance: float


def subject_like(like: Path, split: str = "test", measure: str | None = None) -> Subject:
    """What a run's evidence is about.

    Raises:
        InvalidInput: it is no run, or has no evidence of that split, so that its images are not known.
    """
    if (like / "study.json").exists() or not (like / "config.json").exists():
        raise InvalidInput(
            "--like", like, "is no run folder", "give one with config.json, for example STUDY/vae/seed-0"
        )
    config, file = read_config(like), like / evidence_name(split)
    if not file.exists():
        remedy = f"run python -m inference.evaluate {like} --split {split}"
        raise InvalidInput("--like", like, f"has no {file.name}, which names the images of the split", remedy)
    evidence = read_evidence(file)
    return Subject(
        config["data"],
        config["data_digest"],
        int(config["levels"]),
        int(config["data_dim"]),
        np.sort(evidence.images),
        split,
        measure or evidence.measure,
        tuple(config["shape"]),
    )


def given_subject(options: dict[str, Any]) -> Subject | None:
    """Take the options that describe the data out of ``options``; ``None`` where ``like`` stands for them.

    Raises:
        InvalidInput: some are missing, or are given beside ``like``, are no sizes, or contradict the measure.
    """
    given = {name: options.pop(name) for name in _GIVEN}
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if options["like"] is not None:
        if named:
            raise InvalidInput(named[0], given[named[0][2:].replace("-", "_")], "is taken from --like", "leave it out")
        return None
    missing = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is None]
    if missing:
        raise InvalidInput(
            "--like", "(missing)", "the data are not described", f"give --like RUN, or {' '.join(missing)}"
        )
    for name, least in (("levels", 0), ("data_dim", 1), ("num_images", 1)):  # levels 0: real values
        if given[name] < least:
            raise InvalidInput(f"--{name.replace('_', '-')}", given[name], "is no size", f"give a number from {least}")
    images, dim = np.arange(given["num_images"]), given["data_dim"]
    measure = options["measure"] or ("mass" if given["levels"] else "density")
    if measure == "mass" and not given["levels"]:
        raise InvalidInput("--measure", measure, "real values (--levels 0) have no mass", "give density")
    return Subject(
        given["data"], given["data_digest"], given["levels"], dim, images, options["split"], measure, (1, 1, dim)
    )


def check_place(out: Path) -> None:
    """That the folder may be written; nothing is changed.

    Raises:
        InvalidInput: otherwise.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "config.json").exists()):
        raise InvalidInput("--out", out, "is not an empty folder and no run", "name another folder")
    if (out / "config.json").exists() and "imported" not in read_config(out):
        raise InvalidInput("--out", out, "is a run that was trained here", "name another folder")


def write_run(
    out: Path, file: Path, row: Row, program: str, about: Subject, seed: int, source: Mapping[str, Any]
) -> Path:
    """Write ``evidence.nc`` (estimators of other names are kept) and then ``config.json``, each in one step.

    Raises:
        InvalidInput: the folder holds imported numbers about something else, or cannot be written.
    """
    attributes = {"units": "nats", "measure": about.measure, "levels": about.levels, "program": program, "guide": ""}
    attributes |= {"data": about.data, "data_digest": about.data_digest, "split": about.split, "seed": seed}
    path, fresh = out / evidence_name(about.split), _dataset(row, about, attributes | {"source": "imported"})
    config = _config(out, program, about, seed)
    if path.exists():
        fresh = _merged(path, fresh, row.estimator)
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    entry = {"file": file.name, "sha256": digest, "claim": row.claim.value, **source}
    config["imported"] = config.get("imported", {}) | {f"{about.split} {row.estimator}": entry}
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = out / ".evidence.tmp"
        fresh.to_netcdf(temporary, engine="h5netcdf")
        os.replace(temporary, path)
        replace_json(out / "config.json", config)
    except OSError as error:
        raise InvalidInput("--out", out, f"cannot be written ({error.strerror})", "name another folder") from error
    return out


def _dataset(row: Row, about: Subject, attributes: Mapping[str, Any]) -> xr.Dataset:
    empty = np.full(row.nats.size, np.nan)
    columns = {"log_evidence": row.nats, "stderr": row.stderr, "ess": empty, "pareto_k": empty}
    variables: dict[str, Any] = {name: (("estimator", "image"), values[None]) for name, values in columns.items()}
    variables["seconds"] = ("estimator", [np.nan])
    coords = {
        "estimator": [row.estimator],
        "claim": ("estimator", [row.claim.value]),
        "num_particles": ("estimator", [row.num_particles]),
        "tolerance": ("estimator", [row.tolerance]),
        "reason": ("estimator", [""]),
        "image": about.images,
    }
    return xr.Dataset(variables, coords, dict(attributes))


def _config(out: Path, program: str, about: Subject, seed: int) -> dict[str, Any]:
    """``config.json`` as read by `analysis`: what is not known of someone else's training is empty."""
    fresh = {
        "format": 1,
        "recipe": program,
        "program": program,
        "latents": [],
        "guide": None,
        "data": about.data,
        "data_digest": about.data_digest,
        "shape": list(about.shape),
        "levels": about.levels,
        "data_dim": about.data_dim,
        "measure": about.measure,
        "seed": seed,
        "num_parameters": {},
        "versions": {},
        "commit": "imported",
    }
    if not (out / "config.json").exists():
        return fresh
    present = read_config(out)
    different = [key for key, value in fresh.items() if present.get(key) != value]
    if different:
        said = ", ".join(f"{key} {present.get(key)!r} there, {fresh[key]!r} here" for key in different)
        raise InvalidInput("--out", out, f"holds numbers about something else ({said})", "name another folder")
    return present


def _merged(path: Path, fresh: xr.Dataset, estimator: str) -> xr.Dataset:
    """The file's other estimators and the new one."""
    present = xr.load_dataset(path, engine="h5netcdf")
    if present.attrs != fresh.attrs or not np.array_equal(present["image"].values, fresh["image"].values):
        raise InvalidInput("--out", path, "holds numbers about something else", "name another folder")
    kept = present.sel(estimator=[name for name in present["estimator"].values.tolist() if name != estimator])
    both = xr.concat([kept, fresh], "estimator", data_vars="all", coords="minimal", join="exact")
    return both.drop_encoding()  # that of the file would cut longer names to the width of its own


def replace_json(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)
