"""The state file of a long estimate: written now and then, whole or not at all, and removed when all is done."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Least seconds between two writes.
INTERVAL = 30.0


class StateFile:
    """What has been computed of an estimate so far, in a file that survives a kill.

    Args:
        path: the file; ``None`` keeps nothing.
        fingerprint: what the numbers depend on. A file with another one is of another estimate and is overwritten.
    """

    def __init__(self, path: Path | None, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.content: dict[str, Any] = self._read()
        self.written = time.monotonic()

    def _read(self) -> dict[str, Any]:
        if self.path is None or not self.path.is_file():
            return {}
        try:
            content = torch.load(self.path, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):  # cut off or of something else: begin anew
            return {}
        return content["parts"] if content.get("fingerprint") == self.fingerprint else {}

    def get(self, name: str) -> dict[str, Tensor | int] | None:
        """A part, if it is there."""
        return self.content.get(name)

    def put(self, name: str, part: dict[str, Tensor | int]) -> None:
        """Keep a part; write if the last time is ``INTERVAL`` ago."""
        self.content[name] = part
        if self.path is not None and time.monotonic() - self.written >= INTERVAL:
            self.write()

    def write(self) -> None:
        """Write the file whole or not at all."""
        temporary = self.path.with_name(self.path.name + ".tmp")
        torch.save({"fingerprint": self.fingerprint, "parts": self.content}, temporary)
        os.replace(temporary, self.path)
        self.written = time.monotonic()

    def remove(self) -> None:
        """All is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
