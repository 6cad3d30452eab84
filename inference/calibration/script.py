"""``--sbc`` of ``inference.evaluate``: its options, and the calibration of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppl_models.errors import InvalidInput

from ..cli import parse_options
from ..evidence_file import attributes
from ..run import Run
from .file import as_dataset, summary, write_calibration
from .ranks import check_counts, rank_truths
from .verdicts import judge


def calibration(simulations: int = 1000, draws: int = 199) -> dict[str, int]:
    """The options of ``--sbc``, checked: how many (z, x) are simulated, and how many guide draws each is ranked among.

    Raises:
        InvalidInput: for counts that are too small.
    """
    check_counts(simulations, draws)
    return {"simulations": simulations, "draws": draws}


def calibration_options(asked: bool, tokens: Sequence[str]) -> dict[str, int] | None:
    """What ``--sbc.NAME VALUE`` sets; ``None`` without ``--sbc``.

    Raises:
        InvalidInput: for an unknown option, a count that is too small, or options without ``--sbc``.
    """
    if not asked and tokens:
        raise InvalidInput(f"--sbc.{tokens[0][2:]}", " ".join(tokens[1:2]), "belongs to --sbc", "add --sbc")
    return calibration(**parse_options(calibration, list(tokens), "sbc", ())) if asked else None


def calibrate_run(run: Run, *, progress: bool = False, **options: Any) -> str:
    """Calibrate a run's guide, write ``calibration.nc``, and return what was found in words.

    Raises:
        InvalidInput: as ``rank_truths``.
    """
    seed = run.config["seed"]
    ranks = rank_truths(run.program, run.guide, seed=seed, progress=progress, **options)
    attrs = attributes(run.config, "simulated", run.epoch)
    dataset = as_dataset(run.program, ranks, judge(ranks), attrs)
    write_calibration(run.path / "calibration.nc", dataset)
    return summary(dataset)
