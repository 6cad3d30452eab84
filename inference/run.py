"""A run: a folder that holds one trained program and what was found out about it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import nn

from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram
from ppl_models.recipes import build, build_guide

from .checkpoint import load_checkpoint
from .user_guides import blaming, find_guide

# What a config must hold for a run to be built again and evaluated.
NEEDED = (
    "recipe", "recipe_arguments", "guide", "guide_source", "guide_arguments", "program", "data", "data_digest",
    "data_dim", "levels", "shape", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A trained program with its guide, as loaded from a folder.

    Args:
        path: the folder.
        program: with the best weights of its training, in evaluation mode.
        guide: the same; ``None`` where there are no latents.
        config: the content of ``config.json`` (``docs/files.md``).
        epoch: the epoch of its training whose weights these are: it tells the numbers of an unfinished training from
            those of its continuation.
    """

    path: Path
    program: nn.Module
    guide: GuideProgram | None
    config: Mapping[str, Any]
    epoch: int = 0


def runs_in(path: Path | str) -> list[Path]:
    """The run folders at ``path``: itself, or its ``seed-S`` folders in the order of S.

    Raises:
        InvalidInput: if there is no run.
    """
    path = Path(path)
    if (path / "config.json").is_file():
        return [path]
    seeds = {p.name.removeprefix("seed-"): p for p in path.glob("seed-*") if (p / "config.json").is_file()}
    folders = [seeds[seed] for seed in sorted((seed for seed in seeds if seed.isdecimal()), key=int)]
    if folders:
        return folders
    problem, remedy = "holds no run (no config.json)", "train one: python -m inference.train --out ..."
    if (path / "study.json").is_file():
        problem, remedy = "is a study, which holds several runs", f"name one of {', '.join(_members(path))}"
    raise InvalidInput("run", str(path), problem, remedy)


def _members(study: Path) -> list[str]:
    """The folders in a study folder that hold runs."""
    return sorted({str(found.parent.parent) for found in study.glob("*/seed-*/config.json")}) or ["its runs"]


def read_config(path: Path) -> dict[str, Any]:
    """``config.json`` of a run.

    Raises:
        InvalidInput: if it is missing, no JSON object, or lacks a key.
    """
    try:
        config = json.loads((path / "config.json").read_text())
    except OSError as error:
        raise InvalidInput(
            "run", str(path), "holds no config.json", "give a folder written by inference.train"
        ) from error
    except ValueError as error:
        raise InvalidInput(
            "run", str(path), f"config.json is corrupt: {error}", "train again with --overwrite"
        ) from error
    missing = [key for key in NEEDED if key not in config] if isinstance(config, dict) else ["recipe"]
    if missing:
        problem = f"config.json was not written by inference.train: it lacks {', '.join(missing)}"
        raise InvalidInput("run", str(path), problem, "name another folder")
    return config


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


def load_run(
    path: Path | str,
    guide: type[GuideProgram] | GuideProgram | None = None,
    device: torch.device | str = "cpu",
    *,
    program_only: bool = False,
) -> Run:
    """Load a run with the best weights of its training.

    Args:
        path: the run folder (or a folder with exactly one ``seed-S``).
        guide: class or instance of a guide that came from a user's file: it is passed again, never imported from a
            config.
        device: where to put the tensors.
        program_only: leave the guide out, unless the program is made from it; else no user's guide is asked for.

    Raises:
        InvalidInput: if there is no run or there are several, a user's guide is not passed or another one is, or the
            checkpoint is corrupt or of another program.
    """
    folders = runs_in(path)
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise InvalidInput(
            "run",
            str(path),
            f"holds several seeds ({names})",
            f"name one, for example {folders[0]}",
        )
    folder = folders[0]
    config = read_config(folder)
    with torch.random.fork_rng(devices=[]):  # the initial weights that are drawn here are replaced
        program = build_program(config) if program_only else None
        if program is None or getattr(program, "needs_guide", False):
            program, guide = build_pair(config, guide)
        else:
            guide = None
    state = load_checkpoint(folder / "checkpoint.pt", device)
    load_states(folder, state["best"], program, guide)
    program.to(device).eval()
    if guide is not None:
        guide.to(device).eval()
    return Run(folder, program, guide, config, state.get("best_epoch", 0))


def build_program(config: Mapping[str, Any]) -> nn.Module:
    """The untrained program a config describes."""
    return build(config["recipe"], config, config["recipe_arguments"])[0]


def build_pair(
    config: Mapping[str, Any], guide: type[GuideProgram] | GuideProgram | None = None
) -> tuple[nn.Module, GuideProgram | None]:
    """The untrained pair a config describes, bound to each other.

    Raises:
        InvalidInput: if the config names a user's guide that is not passed, or another guide is passed than the one it
            names.
    """
    program, own_guide = build(config["recipe"], config, config["recipe_arguments"])
    source = config["guide_source"]
    if guide is not None:
        check_guide_name(config, guide if isinstance(guide, type) else type(guide))
    if isinstance(guide, type) and not source:  # the recipe's own, whose options are the recipe's
        if guide is not type(own_guide):
            raise InvalidInput("--guide", guide.__name__, "the run was trained with the recipe's own", "leave it out")
        guide = None
    if source and guide is None:
        if source != "shipped":
            problem = f"the run was trained with {config['guide']} from {source}"
            raise InvalidInput("--guide", None, problem, f"pass it again: --guide FILE.py:{config['guide']}")
        guide = find_guide(config["guide"])
    if isinstance(guide, type):
        with blaming(guide):
            guide = build_guide(guide, program.latent_dim, config, config["guide_arguments"])
    guide = own_guide if guide is None else guide
    if guide is not None:
        guide.bind(program)
    return program, guide


def check_guide_name(config: Mapping[str, Any], guide: type[GuideProgram]) -> None:
    """Weights of one guide may fit another of the same shape, and would then give numbers of neither.

    Raises:
        InvalidInput: unless the guide has the name of the one the config names.
    """
    if guide.__name__ != config["guide"]:
        trained = f"with {config['guide']}" if config["guide"] else "without a guide"
        remedy = "pass the guide of the training" if config["guide"] else "leave it out"
        raise InvalidInput("--guide", guide.__name__, f"the run was trained {trained}", remedy)


def load_states(folder: Path, state: Mapping[str, Any], program: nn.Module, guide: nn.Module | None) -> None:
    """Put the weights of an objective's state into program and guide.

    Raises:
        InvalidInput: if they are of another program or guide.
    """
    for prefix, module in (("program.", program), ("guide.", guide)):
        if module is None:
            continue
        try:
            own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            module.load_state_dict(own)
        except (RuntimeError, AttributeError, TypeError) as error:
            problem = f"the weights do not fit {type(module).__name__}: {' '.join(str(error).split())[:200]}"
            raise InvalidInput(
                "checkpoint", str(folder), problem, "pass the guide of the training, or train again"
            ) from error


def versions() -> dict[str, str]:
    """The versions that decide what numbers come out."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pyro": pyro.__version__,
    }


def commit() -> str:
    """The commit this code stands at, with ``+`` if it was changed since; ``unknown`` outside a checkout."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():  # installed somewhere below another checkout, perhaps
        return "unknown"
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"],
            cwd=checkout, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:  # there is no git
        return "unknown"
    return described.stdout.strip() if described.returncode == 0 else "unknown"
