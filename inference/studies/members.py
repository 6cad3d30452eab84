"""What studies share: members, their runs in parallel processes, and ``study.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput, nearest
from ppl_models.recipes import check_options

from ..data import ImageData, load_data
from ..estimators import parse_estimator
from ..evaluate import evaluate, write_refusal
from ..jobs import Job
from ..objectives import find_objective
from ..run import commit, load_run, write_json
from ..sample import sample
from ..train import build_job, prepare, train
from ..training import Training, default_training
from ..user_guides import find_guide
from .pools import Pool
from .tasks import MARKS, Outcome, Task, run_tasks


@dataclass(frozen=True)
class Member:
    """One side of a comparison: a recipe with what is asked of it.

    Args:
        name: its folder and its name in the report.
        recipe: what is trained.
        estimators: what it is scored by; a baseline refuses them, and the refusal is written.
        role: ``"model"`` or ``"baseline"``.
        samples: number of images to draw; 0 for none.
        seeds: only the first so many of the study's seeds; ``None`` for all.
        recipe_arguments: the recipe's options.
        guide, guide_arguments: a shipped guide in place of the recipe's own, by the name of its class.
        objective, objective_arguments: in place of the pair's default.
        training: what differs from the default settings for the recipe and the size of the data, by name.
        evaluation: further keywords of ``evaluate``, for what is asked beside the estimators.
    """

    name: str
    recipe: str
    estimators: Sequence[str]
    role: str = "model"
    samples: int = 64
    seeds: int | None = None
    recipe_arguments: Mapping[str, Any] = field(default_factory=dict)
    guide: str | None = None
    guide_arguments: Mapping[str, Any] = field(default_factory=dict)
    objective: str | None = None
    objective_arguments: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)

    def folders(self, seeds: Sequence[int]) -> dict[int, str]:
        """Where its runs lie in the study folder, by seed."""
        return {seed: f"{self.name}/seed-{seed}" for seed in seeds[: self.seeds]}


@dataclass(frozen=True)
class Plan:
    """A study to be made.

    Args:
        study: its name.
        question: what it answers.
        members: the sides.
        seeds: restarts of each.
        data: name of the data set.
        data_dir: where larger data sets lie.
        out: the study folder.
        budget: ``"quick"`` or ``"full"``.
        resume, overwrite: what to do with runs that are there.
    """

    study: str
    question: str
    members: Sequence[Member]
    seeds: Sequence[int]
    data: str
    data_dir: Path | None
    out: Path
    budget: str
    resume: bool
    overwrite: bool


def of_budget(members: Sequence[Member] | Mapping[str, Sequence[Member]], budget: str) -> Sequence[Member]:
    """The members of a study, which may name others for each budget."""
    return members[budget] if isinstance(members, Mapping) else members


def job_of(plan: Plan, data: ImageData, member: Member, seed: int, folder: str) -> Job:
    """The training of one run.

    Raises:
        InvalidInput: for an unknown guide, objective or training setting, or an option that the objective lacks.
            ``prepare`` says what is wrong with other options.
    """
    if member.objective is not None:
        objective = find_objective(member.objective)
        check_options("objective", member.objective, objective, member.objective_arguments, ("program", "guide"))
    return Job(
        member.recipe, data, plan.out / folder, seed, member.recipe_arguments,
        find_guide(member.guide) if member.guide else None, member.guide_arguments,
        member.objective, member.objective_arguments, settings_of(member, data),
    )  # fmt: skip


def settings_of(member: Member, data: ImageData) -> Training | None:
    """The training settings of a member; ``None`` where they are the defaults."""
    known = [each.name for each in fields(Training)]
    for name, value in member.training.items():
        if name not in known:
            raise InvalidInput(f"--{name.replace('_', '-')}", value, "unknown training setting", nearest(name, known))
    if not member.training:
        return None
    return replace(default_training(member.recipe, data.sizes["train"]), **member.training)


def check_estimators(job: Job, member: Member) -> None:
    """What the run will be scored by must fit what it trains; a baseline refuses all, and that is written.

    Raises:
        InvalidInput: for an estimator that the program does not admit: before training, which may take hours.
    """
    program, guide = build_job(job)
    if not isinstance(program, NotADensity):
        for name in member.estimators:
            parse_estimator(name, program, guide, annealing=member.evaluation.get("annealing"))


def make_run(plan: Plan, member: Member, seed: int, folder: str) -> None:
    """Train, score on the test images and sample one run.

    A run that was cut off is continued, also where its process died in this very call and the task is tried again.
    """
    resume = not plan.overwrite
    data = load_data(plan.data, plan.data_dir)
    job = job_of(plan, data, member, seed, folder)
    check_estimators(job, member)
    train(job, resume=resume, overwrite=plan.overwrite, progress=False)
    run = load_run(job.out)
    if isinstance(run.program, NotADensity):
        write_refusal(run, data, member.estimators)
    else:
        evaluate(run, data, member.estimators, resume=resume, **member.evaluation)
    if member.samples:
        sample(run, member.samples, seed=seed)


def run_plan(plan: Plan, pool: Pool, command: str, report: Callable[[str], None]) -> list[Outcome]:
    """Make every run of a plan, then write ``study.json``, with what failed; returns what became of each run.

    Raises:
        InvalidInput: for a folder that is not this study's, or what is wrong with a member, before the first is
            trained. What goes wrong later is that run's affair: it is listed, and the others go on.
    """
    start, earlier = time.monotonic(), seconds_so_far(plan)
    check_folder(plan)
    runs = [(member, seed, folder) for member in plan.members for seed, folder in member.folders(plan.seeds).items()]
    data = load_data(plan.data, plan.data_dir)
    for member, seed, folder in runs:
        job = job_of(plan, data, member, seed, folder)
        prepare(job, resume=plan.resume, overwrite=plan.overwrite)
        check_estimators(job, member)
    # The longest first, so that no process is left alone at the end: a bound costs more than a likelihood.
    runs.sort(key=lambda run: -len(run[0].estimators))
    tasks = [Task(folder, partial(make_run, plan, member, seed, folder)) for member, seed, folder in runs]
    # No task is skipped: a run goes on by itself from what is there, also where an estimator was added since.
    outcomes = run_tasks(tasks, plan.out, pool, report)
    write_study(plan, plan.members, outcomes, earlier + time.monotonic() - start, command)
    return outcomes


def write_study(
    plan: Plan, members: Sequence[Member], outcomes: Sequence[Outcome], seconds: float, command: str, **more: Any
) -> None:
    """Write ``study.json``.

    Args:
        plan: the study.
        members: those that are listed.
        outcomes: of its tasks; those that failed are listed with the reason.
        seconds: wall time of all calls together.
        command: as typed.
        more: further keys.
    """
    listed = [{"name": m.name, "runs": list(m.folders(plan.seeds).values()), "role": m.role} for m in members]
    content: dict[str, Any] = {
        "format": 1, "study": plan.study, "question": plan.question, "data": plan.data, "budget": plan.budget,
        "members": listed, "seeds": list(plan.seeds), **more,
        "failures": [{"run": each.name, "error": each.error} for each in outcomes if each.error],
        "seconds": round(seconds, 1), "commit": commit(), "command": command,
    }  # fmt: skip
    write_json(plan.out / "study.json", content)


def seconds_so_far(plan: Plan) -> float:
    """What the runs that are kept have cost already, by the study's own file."""
    path = plan.out / "study.json"
    return float(json.loads(path.read_text())["seconds"]) if plan.resume and path.is_file() else 0.0


def check_folder(plan: Plan) -> None:
    """The study folder must be new, or hold this study and be asked to go on.

    Raises:
        InvalidInput: otherwise.
    """
    if plan.out.is_file():
        raise InvalidInput("--out", str(plan.out), "is a file", "name a folder")
    if plan.out.is_dir() and any(plan.out.iterdir()):
        # After an interruption in the first moments there may be no more than the marks.
        begun = {path.name for path in plan.out.iterdir()} == {MARKS}
        ours = begun or any((plan.out / member.name).is_dir() for member in plan.members)
        if not ours:
            raise InvalidInput(
                "--out",
                str(plan.out),
                "is not empty and holds no such study",
                "name another folder",
            )
        if not (plan.resume or plan.overwrite):
            raise InvalidInput("--out", str(plan.out), "holds a study already", "use --resume or --overwrite")
