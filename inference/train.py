"""Train a recipe and write a run folder.

python -m inference.train --recipe vae --data digits --out runs/vae
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW

from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram
from ppl_models.recipes import build, build_guide

from .checkpoint import load_checkpoint
from .cli import run_script
from .device import resolve_device
from .fit import fit
from .history import History
from .jobs import Job, describe_data, describe_job
from .objectives import Objective, default_objective, find_objective
from .rehearsal import rehearse
from .run import load_states, write_json
from .run_folder import check_folder, open_folder
from .structure import describe
from .train_options import jobs
from .training import OWN_OBJECTIVE
from .user_guides import blaming


def build_job(job: Job) -> tuple[nn.Module, GuideProgram | None]:
    """The untrained pair of a job, its initial weights drawn from the job's seed.

    Raises:
        InvalidInput: for options it does not have, or a guide where there are no latents.
    """
    with torch.random.fork_rng():
        torch.manual_seed(job.seed)
        described = describe_data(job.data)
        program, guide = build(job.recipe, described, job.recipe_arguments)
        if job.guide_class is not None:
            if guide is None:
                name, problem = job.guide_class.__name__, f"recipe {job.recipe} has no latents"
                raise InvalidInput("--guide", name, problem, "leave it out")
            with blaming(job.guide_class):
                guide = build_guide(job.guide_class, program.latent_dim, described, job.guide_arguments)
    if guide is not None:
        guide.bind(program)
    return program, guide


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to be trained.

    Args:
        objective: of the pair.
        config, structure: the content of ``config.json`` and ``structure.json``.
    """

    objective: Objective
    config: dict[str, Any]
    structure: dict[str, Any]


def prepare(job: Job, *, resume: bool = False, overwrite: bool = False) -> Prepared:
    """Build what a job trains and check all that can be checked before; nothing is written.

    Raises:
        InvalidInput: if a setting is out of range, the pair, the data and the objective do not go together, the folder
            holds another run, or its checkpoint cannot be continued.
    """
    job.check()
    resolve_device(job.device)
    program, guide = build_job(job)
    images = job.data.split("train")
    program.check(images)
    with blaming(job.guide_class):
        rehearse(program, guide, images)
        name, arguments = objective_of(job, program, guide)
        objective = find_objective(name)(program, guide, **arguments)
        structure = describe(program, guide, images)
    config = describe_job(job, name, arguments, program, guide)
    check_folder(job.out, config, resume, overwrite)
    if resume and (job.out / "checkpoint.pt").is_file():
        check_continuable(job.out, program, guide)
    return Prepared(objective, config, structure)


def objective_of(job: Job, program: nn.Module, guide: nn.Module | None) -> tuple[str, dict[str, Any]]:
    """The name and the options of what a job minimises: the one it names, the recipe's own, or the pair's default."""
    if job.objective is not None:
        own, defaults = OWN_OBJECTIVE.get(job.recipe, (None, {}))
        return job.objective, {**(defaults if own == job.objective else {}), **job.objective_arguments}
    if job.recipe in OWN_OBJECTIVE:
        return OWN_OBJECTIVE[job.recipe]
    return default_objective(program, guide), {}


def check_continuable(folder: Path, program: nn.Module, guide: nn.Module | None) -> None:
    """Load the checkpoint's last weights into the pair, from where training will go on.

    Raises:
        InvalidInput: if the checkpoint is corrupt, or of another pair.
    """
    state = load_checkpoint(folder / "checkpoint.pt")
    missing = sorted({"last", "optimizer", "epoch", "rng"} - state.keys())
    if missing:
        problem = f"lacks {', '.join(missing)}, which training continues from"
        raise InvalidInput("checkpoint", str(folder / "checkpoint.pt"), problem, "train again with --overwrite")
    if epochs_recorded(folder)[: state["epoch"]] != list(range(1, state["epoch"] + 1)):
        problem = f"does not hold the {state['epoch']} epochs of the checkpoint"
        raise InvalidInput("history", str(folder / "history.jsonl"), problem, "train again with --overwrite")
    load_states(folder, state["last"], program, guide)


def epochs_recorded(folder: Path) -> list[int]:
    """The epochs in ``history.jsonl``, up to the first line that cannot be read."""
    epochs: list[int] = []
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        for line in (folder / "history.jsonl").read_text().splitlines():
            epochs.append(json.loads(line)["epoch"])
    return epochs


def train(
    job: Job,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    track: bool = False,
) -> History:
    """Build, fit and write a run folder; with ``resume``, continue the one that is there.

    Raises:
        InvalidInput: as ``prepare``, before anything is written.
    """
    prepared = prepare(job, resume=resume, overwrite=overwrite)
    loggers, settings = tensorboard(job.out) if track else (), job.settings()
    open_folder(job.out, overwrite)
    for name, content in (("config.json", prepared.config), ("structure.json", prepared.structure)):
        if not (job.out / name).is_file():
            write_json(job.out / name, content)
    return fit(
        prepared.objective,
        job.data,
        functools.partial(AdamW, lr=settings.learning_rate, weight_decay=settings.weight_decay),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        patience=settings.patience,
        max_seconds=settings.max_seconds,
        clip_norm=settings.clip_norm,
        average=settings.average,
        scheduler=settings.scheduler,
        step=settings.step_rule(),
        seed=job.seed,
        device=resolve_device(job.device),
        precision=settings.precision,
        folder=job.out,
        resume=resume,
        progress=progress,
        loggers=loggers,
    )


def tensorboard(folder: Path) -> Sequence[Any]:
    """A TensorBoard logger for the run.

    Raises:
        InvalidInput: if tensorboard is not installed.
    """
    from lightning_fabric.loggers import (
        TensorBoardLogger,
    )  # imports tensorboard, an optional dependency

    try:
        return (TensorBoardLogger(folder, name="tensorboard", version=""),)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "--track", True, "tensorboard is not installed", "pip install 'ppl-models[track]'"
        ) from error


def main(argv: Sequence[str]) -> None:
    """Train what the command line asks for."""
    made, options = jobs(argv, __doc__)
    if len(made) > 1:  # so that a fault of the last is known before the first is trained
        for job in made:
            prepare(job, resume=options.resume, overwrite=options.overwrite)
    for job in made:
        start = time.monotonic()
        history = train(
            job,
            resume=options.resume,
            overwrite=options.overwrite,
            progress=not options.quiet,
            track=options.track,
        )
        best = history.records[history.best_epoch - 1]
        claim = best["valid_claim"]
        value = best.get("valid_log_evidence", best.get("valid_score"))
        unit = "nats" if claim != "none" else "reconstruction score, no likelihood"
        print(
            f"{job.out}: epoch {history.best_epoch} of {len(history.records)} kept ({history.stopped}), validation "
            f"{best['valid_estimator']} {value:.2f} {unit} ({claim}), {time.monotonic() - start:.0f} s"
        )


if __name__ == "__main__":
    run_script(main)
    sys.exit(0)
