"""Files of numbers as another framework would write them, and the run on the same images that they are held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np

N = 12
OURS = -np.arange(20.0, 20.0 + N)
SPREAD = np.array([-0.3, -0.2, -0.1, -0.1, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.2, 0.3])
THEIRS = OURS + 1 + SPREAD


def trained(folders) -> Path:
    """A run of this project, in a study of its own."""
    folders.config("made/seed-0")
    folders.evidence("made/seed-0", {"exact": ("EXACT", OURS)})
    return folders.study({"made": ["made/seed-0"]}) / "made/seed-0"


def table(path: Path, **columns: object) -> Path:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def declared(run: Path | None, tmp_path: Path, **changes: object) -> dict:
    options = {"claim": "LOWER_BOUND", "estimator": "iw:5000", "program": "theirs", "out": tmp_path / "theirs"}
    return options | ({"like": run} if run else {}) | changes
