"""The study of posterior collapse: the linear program where theory is exact, sweeps of what makes a decoder strong, and
the cures under one budget."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ppl_models.errors import InvalidInput

from ..data import ImageData, load_data
from ..measures import collapse_name, measure_run
from ..run import load_run, write_json
from . import cures, linear
from .members import Member, Plan, make_run, seconds_so_far, write_study
from .pools import Pool
from .sweeps import Sweep, built_in, read_sweeps
from .tasks import Outcome, Task, run_tasks

QUESTION = (
    "When does the code of a latent program carry nothing about the image, does theory say so where it is exact, and "
    "which cure buys how much information at which loss of evidence?"
)
SEEDS = {"quick": (0, 1), "full": (0, 1, 2)}
MEMBERS = {budget: cures.members(budget) for budget in SEEDS}
PLAN = "plan.json"


def run(
    plan: Plan, pool: Pool, command: str, report: Callable[[str], None], sweep_file: Path | None = None
) -> list[Outcome]:
    """Make what is not finished, then write ``study.json``, with what failed.

    Args:
        plan: the study; its members are the cures.
        pool: where the tasks run.
        command: as typed.
        report: told of progress and of every failure, a line each.
        sweep_file: make the sweeps of this file and nothing else; their points are the members.

    Raises:
        InvalidInput: for a sweep file or a cluster that cannot be used, or a folder that is not this study's. What is
            wrong with one member or one point is listed, and the others go on.
    """
    start, earlier = time.monotonic(), seconds_so_far(plan)
    data = load_data(plan.data, plan.data_dir)
    sweeps = read_sweeps(sweep_file) if sweep_file else built_in(plan.budget, max(data.shape[1:]))
    points = [member for sweep in sweeps for member in sweep.members()]
    members = points if sweep_file else plan.members
    pool.check()
    claim_folder(plan, identity(plan, data, members, sweeps))
    tasks = tasks_of(plan, members, points, with_theory=sweep_file is None)
    outcomes = run_tasks(tasks, plan.out, pool, report, resume=plan.resume)
    write_study(
        plan, members, outcomes, earlier + time.monotonic() - start, command,
        sweeps=[sweep.as_json(plan.seeds) for sweep in sweeps],
        linear=[task.name for task in tasks if task.name.startswith(f"{linear.FOLDER}/")],
    )  # fmt: skip
    return outcomes


def tasks_of(plan: Plan, members: Sequence[Member], points: Sequence[Member], *, with_theory: bool) -> list[Task]:
    """Everything to be made; the theory is first, for it takes longest."""
    tasks = []
    if with_theory:
        tasks = [
            Task(f"{linear.FOLDER}/{name}", partial(linear.make, name, plan.data, plan.data_dir, plan.out, plan.budget))
            for name in (linear.IMAGES, linear.SYNTHETIC)
        ]
    cured = {member.name for member in cures.MEMBERS}
    # With a sweep file the members are the points.
    for member in {each.name: each for each in (*members, *points)}.values():
        after = cures.after_run if member.name in cured else None
        for seed, folder in member.folders(plan.seeds).items():
            tasks.append(Task(folder, partial(make_point, plan, member, seed, folder, after)))
    return tasks


def make_point(
    plan: Plan, member: Member, seed: int, folder: str, after: Callable[[Plan, Member, int, Path], None] | None = None
) -> None:
    """Train, score and measure one run, then what is asked ``after`` it."""
    make_run(plan, member, seed, folder)
    run, path = load_run(plan.out / folder), plan.out / folder
    if run.guide is not None and not (path / collapse_name("test")).is_file():
        measure_run(run, load_data(plan.data, plan.data_dir))
    if after is not None:
        after(plan, member, seed, path)


def identity(plan: Plan, data: ImageData, members: Sequence[Member], sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """What tells this study from another one: ``plan.json``."""
    return {
        "format": 1, "study": plan.study, "data": plan.data, "data_digest": data.digest, "budget": plan.budget,
        "seeds": list(plan.seeds), "members": [member.name for member in members],
        "sweeps": [sweep.as_json(plan.seeds) for sweep in sweeps],
    }  # fmt: skip


def claim_folder(plan: Plan, ours: dict[str, Any]) -> None:
    """Make the folder this study's: it must be new or empty, or hold the same study and be asked to go on.

    Raises:
        InvalidInput: otherwise.
    """
    if plan.out.is_file():
        raise InvalidInput("--out", str(plan.out), "is a file", "name a folder")
    ours, path = json.loads(json.dumps(ours)), plan.out / PLAN
    if plan.out.is_dir() and any(plan.out.iterdir()):
        if not path.is_file():
            raise InvalidInput("--out", str(plan.out), "is not empty and holds no such study", "name another folder")
        theirs = json.loads(path.read_text())
        different = [key for key in ours if theirs.get(key) != ours[key]]
        if different:
            problem = f"holds another study or sweep (other {', '.join(different)})"
            raise InvalidInput("--out", str(plan.out), problem, "name another folder")
        if not (plan.resume or plan.overwrite):
            raise InvalidInput("--out", str(plan.out), "holds a study already", "use --resume or --overwrite")
    plan.out.mkdir(parents=True, exist_ok=True)
    write_json(path, ours)
