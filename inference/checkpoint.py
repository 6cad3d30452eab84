"""Checkpoints: tensors and plain values only, written whole or not at all."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from ppl_models.errors import InvalidInput


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with ``weights_only=True``: arbitrary objects are refused, not unpickled.

    Raises:
        InvalidInput: if the file is missing, truncated, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise InvalidInput("checkpoint", str(path), "does not exist", "train the run first")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        remedy = "train again with --overwrite"
        raise InvalidInput("checkpoint", str(path), "is corrupt, truncated or holds foreign objects", remedy) from error
    if not isinstance(state, dict) or "best" not in state:
        raise InvalidInput(
            "checkpoint",
            str(path),
            "was not written by inference.train",
            "train again with --overwrite",
        )
    return state
