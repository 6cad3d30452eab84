"""What happened in training: a record per epoch, in memory and in ``history.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class History:
    """The records of a training run.

    Args:
        records: one per epoch, as written to ``history.jsonl`` (``docs/files.md``).
        best_epoch: the epoch whose weights were kept; 0 before any.
        best_value: its monitored value; goes up.
        stopped: why training ended: ``"epochs"``, ``"patience"`` or ``"seconds"``.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -float("inf")
    stopped: str = ""


class HistoryFile:
    """Appends records to ``history.jsonl``; without a folder it does nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.path = folder / "history.jsonl" if folder else None

    def read(self, last_epoch: int) -> list[dict[str, Any]]:
        """The records up to an epoch; later ones (of a run that was killed after its last checkpoint) are dropped."""
        if self.path is None or not self.path.is_file():
            return []
        records = [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]
        records = [record for record in records if record["epoch"] <= last_epoch]
        self.path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return records

    def append(self, record: dict[str, Any]) -> None:
        """Add a line."""
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")


def summary(record: Mapping[str, Any]) -> str:
    """The progress bar's text: the monitored value with its claim, what the latents carry, and the speed."""
    speed = f"{record['images_per_second']:.0f} images/s"
    if "rate" in record:
        speed = f"rate {record['rate']:.2f} nats ({record['rate_claim']}), {record['active_units']} active, {speed}"
    if "valid_log_evidence" in record:
        return f"valid {record['valid_log_evidence']:.2f} nats ({record['valid_claim']}), {speed}"
    if "valid_score" in record:
        return f"valid score {record['valid_score']:.2f} (no likelihood), {speed}"
    return speed
