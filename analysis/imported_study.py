"""How imported numbers join a study: as a member of their own, and only if they are about its images."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.errors import InvalidInput
from analysis.imported_run import Subject, replace_json
from analysis.runs import Study, read_study


def check_join(study: Path, out: Path, program: str, seed: int, about: Subject) -> None:
    """That the run may join the study; nothing is changed.

    Raises:
        InvalidInput: it is no study or does not hold the folder; the numbers are about other images than those of its
            runs, or their unit was converted by another size; the member was trained here, or has the seed already.
    """
    if not (study / "study.json").exists():
        raise InvalidInput("--join", study, "is no study: it has no study.json", "give the folder of one")
    if not out.resolve().is_relative_to(study.resolve()) or out.resolve() == study.resolve():
        remedy = f"write to {study}/{program}/seed-{seed}"
        raise InvalidInput("--out", out, f"does not lie in the study {study}", remedy)
    present = read_study(study)
    _check_images(present, out, about)
    for member in present.members:
        trained = [run for run in member.runs if "imported" not in run.config]
        if member.name == program and trained:
            raise InvalidInput("--program", program, "is a member that was trained here", "give it a name of its own")
        taken = [run for run in member.runs if run.seed == seed and run.path.resolve() != out.resolve()]
        if member.name == program and taken:
            raise InvalidInput(
                "--seed", seed, f"{program} has it already in {taken[0].path}", "give the training's own seed"
            )


def _check_images(study: Study, out: Path, about: Subject) -> None:
    """Sizes and digest of the images against every other run of the study; one of them has to agree in all."""
    others = [run for member in study.members for run in member.runs if run.path.resolve() != out.resolve()]
    first: InvalidInput | None = None
    for run in others:
        differs = [name for name in ("data_digest", "levels", "data_dim") if run.config[name] != getattr(about, name)]
        if not differs:
            return
        option = f"--{differs[0].replace('_', '-')}"
        problem = f"the runs of {study.path} have {run.config[differs[0]]} (data {run.config['data']})"
        remedy = f"describe the images by --like {run.path}, or leave --join out"
        first = first or InvalidInput(option, getattr(about, differs[0]), problem, remedy)
    if first is not None:
        raise first


def join_study(study: Path, run: Path, member: str) -> None:
    """Add the run to ``study.json`` as a member of its own, or to its member; `check_join` has allowed it."""
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    name = run.resolve().relative_to(study.resolve()).as_posix()
    entry = next((entry for entry in content["members"] if entry["name"] == member), None)
    if entry is None:
        entry = {"name": member, "runs": [], "role": "model"}
        content["members"].append(entry)
    if name not in entry["runs"]:
        entry["runs"].append(name)
    replace_json(study / "study.json", content)
