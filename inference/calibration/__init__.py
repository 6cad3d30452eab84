"""Simulation-based calibration of a guide: is the truth, where it is known, an ordinary draw of q(z | x)?"""

from __future__ import annotations

from .bands import Band, p_value, uniform_band
from .file import as_dataset, summary, write_calibration
from .ranks import LEAST_SIMULATIONS, Ranks, check_counts, check_pair, rank_truths
from .verdicts import NOTHING_FOUND, Verdicts, judge

__all__ = [
    "LEAST_SIMULATIONS",
    "NOTHING_FOUND",
    "Band",
    "Ranks",
    "Verdicts",
    "as_dataset",
    "check_counts",
    "check_pair",
    "judge",
    "p_value",
    "rank_truths",
    "summary",
    "uniform_band",
    "write_calibration",
]
