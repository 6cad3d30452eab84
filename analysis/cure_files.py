"""What a study of posterior collapse wrote of one member: ``cure.json``, ``probe.json``, evidence and measures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.claims import Claim
from analysis.collapse import CollapseMeasures, read_collapse
from analysis.contenders import sandwich_width
from analysis.errors import Incomparable, InvalidInput
from analysis.evidence import common_images
from analysis.files import SCHEMA, read_json
from analysis.runs import Member, Run
from analysis.sides import best_values, check_all_comparable, in_short

PURPOSES = ("plain", "decoder", "cure", "proposed")
_CURE = {"cure": str, "setting": str, "purpose": str}
_CHECK = {"what": str, "value": (int, float, type(None)), "bound": (int, float, type(None)), "holds": bool}
_PROBE = {"accuracy": (int, float, type(None)), "chance": (int, float, type(None))}


@dataclass(frozen=True, eq=False)
class CureRuns:
    """The runs of one member of such a study, read.

    Attributes:
        name: the member.
        runs: one per seed.
        cures: ``cure.json`` of each.
        nats: (S, N) log p(x) by the tightest reading that all seeds share.
        estimator, claim: of that reading.
        collapse: ``collapse.nc`` of each; empty without latents.
    """

    name: str
    runs: tuple[Run, ...]
    cures: tuple[Mapping[str, Any], ...]
    nats: np.ndarray
    estimator: str
    claim: Claim
    collapse: tuple[CollapseMeasures, ...]

    @property
    def purpose(self) -> str:
        """One of ``PURPOSES``."""
        return str(self.cures[0]["purpose"])

    def mean_of(self, measure: str) -> float:
        """A measure of ``collapse.nc``, mean over seeds; NaN without latents."""
        return float(np.mean([found[measure].value for found in self.collapse])) if self.collapse else math.nan

    @property
    def training(self) -> tuple[float, float]:
        """Updates and seconds of the training, means over seeds; NaN without a history."""
        if any(not run.history for run in self.runs):
            return math.nan, math.nan
        updates = [run.history[-1].get("updates", math.nan) for run in self.runs]
        seconds = [sum(float(record.get("seconds", math.nan)) for record in run.history) for run in self.runs]
        return float(np.mean(updates)), float(np.mean(seconds))

    @property
    def probe(self) -> tuple[float, float]:
        """Accuracy of the linear probe of z, and of guessing, means over seeds; NaN where there is none."""
        pairs = [read_probe(run.path) for run in self.runs]
        return tuple(float(np.mean(values)) for values in zip(*pairs, strict=True))

    @property
    def sandwich(self) -> float:
        """Width of the sandwich on simulated images, mean over seeds, nats; NaN unless every seed has one."""
        found = [sandwich_width(run.sandwich) if run.sandwich is not None else None for run in self.runs]
        return math.nan if any(width is None for width in found) else float(np.mean([width.mean for width in found]))


def read_cure_runs(member: Member) -> CureRuns | None:
    """The runs of a member that have ``cure.json``; ``None`` where none has.

    Raises:
        Incomparable: a run without evidence or measures, or seeds whose evidence must not be averaged.
        InvalidInput: for a malformed file.
    """
    runs = tuple(run for run in member.runs if (run.path / "cure.json").is_file())
    if not runs:
        return None
    evidence = [run.evidence for run in runs if run.evidence is not None]
    if len(evidence) < len(runs):
        raise Incomparable("a run of it has no evidence.nc")
    check_all_comparable(evidence)
    values = best_values(*evidence)
    if values is None:
        raise Incomparable("its runs have no reading with a direction in common")
    nats = np.stack([each.nats for each in values])
    with_measures = [run for run in runs if (run.path / "collapse.nc").is_file()]
    if any(run.is_latent for run in runs) and len(with_measures) < len(runs):
        raise Incomparable("a run of it has no collapse.nc")
    return CureRuns(
        member.name, runs, tuple(read_cure(run.path) for run in runs), nats[:, : common_images(nats, nats)],
        in_short(values[0].estimator, values[0].claim), values[0].claim,
        tuple(read_collapse(run.path / "collapse.nc") for run in with_measures),
    )  # fmt: skip


def read_cure(path: Path) -> dict[str, Any]:
    """``cure.json`` of a run folder.

    Raises:
        InvalidInput: it is malformed, or its purpose is unknown.
    """
    file = path / "cure.json"
    content = read_json(file, _CURE)
    if content["purpose"] not in PURPOSES:
        remedy = f"write one of {', '.join(PURPOSES)}"
        raise InvalidInput(str(file), f"purpose {content['purpose']}", "is not known", remedy)
    check = content.get("check")
    if check is not None and (
        not isinstance(check, dict) or any(not isinstance(check.get(key), kind) for key, kind in _CHECK.items())
    ):
        raise InvalidInput(str(file), "check", f"needs {', '.join(_CHECK)}", f"write it as in {SCHEMA}")
    return content


def read_probe(path: Path) -> tuple[float, float]:
    """Accuracy and chance of ``probe.json``; NaN where there is no file, or no accuracy in it."""
    if not (path / "probe.json").is_file():
        return math.nan, math.nan
    content = read_json(path / "probe.json", _PROBE)
    return number(content["accuracy"]), number(content["chance"])


def number(value: float | None) -> float:
    """A number of a JSON file, where NaN is ``null``."""
    return math.nan if value is None else float(value)
