"""Run folders and studies, as written by `inference` or by anyone else who lays files down as in docs/files.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from analysis.claims import Claim
from analysis.errors import InvalidInput
from analysis.evidence import Evidence, read_evidence, read_sandwich
from analysis.files import MAKERS, read_dataset, read_json, read_json_lines

Content = TypeVar("Content")

_CONFIG = {
    "program": str,
    "data": str,
    "data_digest": str,
    "data_dim": int,
    "shape": list,
    "levels": int,
    "seed": int,
    "num_parameters": dict,
}
_STUDY = {"study": str, "question": str, "members": list}
_NO_META = {"command": "", "commit": "", "budget": "", "seconds": 0.0}
_MEMBER = {"name": str, "runs": list}
_STRUCTURE = {"program": dict, "generation": dict}
_EPOCH = {"epoch": int, "train_loss": (int, float), "train_loss_name": str, "valid_claim": str}
_IMAGES = ("height", "width", "channels", "levels")


@dataclass(frozen=True, eq=False)
class Run:
    """One program trained from one seed. Parts whose file does not exist are ``None``.

    Attributes:
        path: its folder.
        config: ``config.json``.
        evidence, validation, sandwich: log p(x) on the split and on validation, and the bounds on simulated images.
        history: one mapping per epoch.
        structure: the traced program and guide.
        samples, reconstructions: images.
    """

    path: Path
    config: Mapping[str, Any]
    evidence: Evidence | None
    sandwich: Evidence | None
    validation: Evidence | None
    history: tuple[Mapping[str, Any], ...] | None
    structure: Mapping[str, Any] | None
    samples: xr.Dataset | None
    reconstructions: xr.Dataset | None

    @property
    def seed(self) -> int:
        """The seed it was trained from."""
        return int(self.config["seed"])

    @property
    def is_latent(self) -> bool:
        """Whether the program has latent variables."""
        return bool(self.config.get("latents"))

    @property
    def refusal(self) -> str:
        """Why it has no density; empty if it has one."""
        return str(self.config.get("refusal") or "")

    @property
    def is_imported(self) -> bool:
        """Whether its numbers come from another framework (`analysis.import_evidence`)."""
        return "imported" in self.config

    @property
    def missing(self) -> dict[str, str]:
        """Parts that could be there and are not: file name to the command that makes it."""
        if self.is_imported:
            return {}
        expected = ["evidence.nc", "history.jsonl", "structure.json"]
        if not self.refusal:
            expected.append("samples.nc")
        if self.is_latent or self.refusal:
            expected.append("reconstructions.nc")
        return {name: f"{MAKERS[name]} {self.path}" for name in expected if not (self.path / name).exists()}


@dataclass(frozen=True, eq=False)
class Member:
    """The runs of one name in a study: one recipe over its seeds."""

    name: str
    role: str
    runs: tuple[Run, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """One question and the runs that answer it.

    Attributes:
        path: its folder.
        meta: ``study.json``, or what stands for it if the folder is a run or holds ``seed-*``.
        members: the members that have at least one run.
        absent: run folders that ``study.json`` names and that are not there.
    """

    path: Path
    meta: Mapping[str, Any]
    members: tuple[Member, ...]
    absent: tuple[str, ...]


def read_config(path: Path) -> dict[str, Any]:
    """``config.json`` of a run folder."""
    return read_json(path / "config.json", _CONFIG)


def read_history(path: Path) -> tuple[dict[str, Any], ...]:
    """``history.jsonl`` of a run folder: one record per epoch; an unknown claim is an error."""
    file = path / "history.jsonl"
    records = read_json_lines(file, _EPOCH)
    for record in records:
        if record["valid_claim"] not in [claim.value for claim in Claim]:
            value = f"valid_claim {record['valid_claim']}"
            raise InvalidInput(str(file), value, "is no known claim", "write it as in docs/files.md")
    return tuple(records)


def read_structure(path: Path) -> dict[str, Any]:
    """``structure.json`` of a run folder."""
    file = path / "structure.json"
    structure = read_json(file, _STRUCTURE)
    kind = structure["generation"].get("kind")
    if kind not in ("ancestral", "autoregressive", "none"):
        remedy = "write ancestral, autoregressive or none"
        raise InvalidInput(str(file), f"generation.kind {kind}", "is not known", remedy)
    return structure


def read_samples(path: Path) -> xr.Dataset:
    """``samples.nc`` of a run folder: ``x`` (sample, pixel)."""
    return _read_images(path / "samples.nc", {"x": ("sample", "pixel")})


def read_reconstructions(path: Path) -> xr.Dataset:
    """``reconstructions.nc`` of a run folder: ``x`` and ``reconstruction`` (image, pixel)."""
    dims = ("image", "pixel")
    return _read_images(path / "reconstructions.nc", {"x": dims, "reconstruction": dims})


def read_run(path: Path) -> Run:
    """A run folder. Only ``config.json`` must be there; what else is there must be well formed.

    Raises:
        InvalidInput: no ``config.json``, or a malformed file.
    """
    return Run(
        path=path,
        config=read_config(path),
        evidence=_if_present(path, "evidence.nc", lambda folder: read_evidence(folder / "evidence.nc")),
        sandwich=_if_present(path, "sandwich.nc", lambda folder: read_sandwich(folder / "sandwich.nc")),
        validation=_if_present(path, "evidence-valid.nc", lambda folder: read_evidence(folder / "evidence-valid.nc")),
        history=_if_present(path, "history.jsonl", read_history),
        structure=_if_present(path, "structure.json", read_structure),
        samples=_if_present(path, "samples.nc", read_samples),
        reconstructions=_if_present(path, "reconstructions.nc", read_reconstructions),
    )


def read_study(path: Path) -> Study:
    """A study folder, a single run, or a folder that holds ``seed-*``.

    Raises:
        InvalidInput: the folder does not exist, is none of the three, or a file in it is malformed.
    """
    if not path.is_dir():
        raise InvalidInput("folder", path, "there is no such folder", "give a study or a run folder")
    if (path / "study.json").exists():
        return _declared_study(path)
    folders = sorted(path.glob("seed-*"), key=_seed_of)
    folders = [path] if (path / "config.json").exists() else folders
    if not folders:
        problem = "holds neither study.json, config.json nor seed-*"
        remedy = "give a folder written by inference.study or inference.train"
        raise InvalidInput("folder", path, problem, remedy)
    runs = _distinct(path, "seed-*", tuple(read_run(folder) for folder in folders))
    name = str(runs[0].config.get("recipe") or path.name)
    meta = _NO_META | {"study": "run", "question": f"What does {name} say about log p(x), and with what claim?"}
    return Study(path, meta, (Member(name, "model", runs),), ())


def _declared_study(path: Path) -> Study:
    meta = _NO_META | read_json(path / "study.json", _STUDY)
    members, absent = [], []
    for entry in meta["members"]:
        if not isinstance(entry, dict) or any(not isinstance(entry.get(k), v) for k, v in _MEMBER.items()):
            remedy = "write it as in docs/files.md"
            raise InvalidInput(str(path / "study.json"), "members", "one lacks name or runs", remedy)
        here = [name for name in entry["runs"] if (path / name).is_dir()]
        absent += [name for name in entry["runs"] if name not in here]
        if here:
            runs = _distinct(path / "study.json", entry["name"], tuple(read_run(path / name) for name in here))
            members.append(Member(entry["name"], str(entry.get("role", "model")), runs))
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(str(path / "study.json"), f"member {name}", "is listed twice", "give each its own name")
    if not members:
        problem = "none of its run folders is there"
        raise InvalidInput(str(path / "study.json"), "members", problem, f"run {MAKERS['study.json']} again")
    return Study(path, meta, tuple(members), tuple(absent))


def _distinct(file: Path, member: str, runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """The runs, if no two share a seed: a run counted twice would pass for a method trained from several seeds."""
    by_seed: dict[int, Run] = {}
    for run in runs:
        earlier = by_seed.setdefault(run.seed, run)
        if earlier is not run:
            problem = f"has two runs of seed {run.seed} ({earlier.path.name} and {run.path.name})"
            raise InvalidInput(str(file), member, problem, "list each seed once, or give each run its own member")
    return runs


def _if_present(path: Path, name: str, read: Callable[[Path], Content]) -> Content | None:
    return read(path) if (path / name).exists() else None


def _seed_of(path: Path) -> tuple[int, str]:
    number = path.name.removeprefix("seed-")
    return (int(number) if number.isdigit() else -1, path.name)


def _read_images(file: Path, variables: Mapping[str, tuple[str, ...]]) -> xr.Dataset:
    dataset = read_dataset(file, variables)
    for name in _IMAGES:
        if name not in dataset.attrs:
            raise InvalidInput(str(file), name, "this attribute is missing", "write it as in docs/files.md")
    pixels = int(dataset.attrs["height"]) * int(dataset.attrs["width"]) * int(dataset.attrs["channels"])
    if dataset.sizes["pixel"] != pixels:
        value = f"pixel {dataset.sizes['pixel']}"
        problem = f"is not height x width x channels = {pixels}"
        raise InvalidInput(str(file), value, problem, "write images flat, as in docs/files.md")
    return dataset
