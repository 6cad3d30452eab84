"""The folder a run is written to: whose it is, and when it may be continued or replaced."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ppl_models.errors import InvalidInput

from .run import read_config

# What may differ between a run and its continuation: it does not decide what is trained.
FREE_TO_DIFFER = ("versions", "commit")


def is_run(folder: Path) -> bool:
    """Whether ``inference.train`` wrote this folder, even if its ``config.json`` is damaged since: only then may it be
    removed."""
    try:
        return bool(read_config(folder))
    except InvalidInput:
        return (folder / "config.json").is_file() and (folder / "structure.json").is_file()


def check_folder(folder: Path, config: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
    """Check that a run may be written to this folder; nothing is changed.

    Raises:
        InvalidInput: if the folder is a file or below one, holds something else, holds this run without ``--resume`` or
            ``--overwrite``, or holds another run without ``--overwrite``.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InvalidInput("--out", str(folder), f"{there} is a file", "name a folder")
    if there != folder or not any(folder.iterdir()):
        return
    if not (folder / "config.json").is_file() or (overwrite and not is_run(folder)):
        raise InvalidInput("--out", str(folder), "is not empty and holds no run", "name another folder")
    if overwrite:
        return
    if not resume:
        remedy = "continue it with --resume or replace it with --overwrite"
        raise InvalidInput("--out", str(folder), "holds a run already", remedy)
    present = read_config(folder)
    different = [key for key in config if key not in FREE_TO_DIFFER and present.get(key) != config[key]]
    if different:
        problem = f"holds another run, with another {', '.join(different)}"
        raise InvalidInput("--out", str(folder), problem, "replace it with --overwrite")


def open_folder(folder: Path, overwrite: bool) -> None:
    """Make the folder, empty if it is to be overwritten; ``check_folder`` has allowed it.

    Raises:
        InvalidInput: if the system does not.
    """
    try:
        if overwrite and folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            "--out", str(folder), f"cannot be written: {error.strerror}", "name another folder"
        ) from error
