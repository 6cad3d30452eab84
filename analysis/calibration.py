"""Simulation-based calibration read out: is the truth, where it is known, an ordinary draw of the guide?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.claims import Claim
from analysis.errors import InvalidInput
from analysis.files import MAKERS, SCHEMA, read_dataset
from analysis.statistics import mean_and_stderr

NOTHING_FOUND = "nothing found"
_VARIABLES = {
    "rank": ("quantity", "simulation"),
    "band_lower": ("point",),
    "band_upper": ("point",),
    "coverage": ("level", "quantity"),
    "coverage_lower": ("level", "quantity"),
    "coverage_upper": ("level", "quantity"),
    "log_evidence": ("estimator", "simulation"),
    "quantity": ("quantity",),
    "verdict": ("quantity",),
    "level": ("level",),
    "estimator": ("estimator",),
    "claim": ("estimator",),
}
_ATTRIBUTES = ("units", "draws", "family_wise", "program", "guide")

# What each word of the file means for the guide, and the remedy it asks for.
_MEANINGS = {
    "overconfident": "its intervals are too narrow for how often they miss",
    "underconfident": "its intervals are wider than they need be",
    "biased low": "its draws lie too low",
    "biased high": "its draws lie too high",
    "draws too probable": "its draws sit closer to the posterior's mode than the posterior does",
    "draws too improbable": "its draws lie where the posterior is thin: it ignores x, or correlations, or is off",
    "miscalibrated": "the ranks are uneven in another way",
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """The content of ``calibration.nc``.

    Attributes:
        quantities: components of the latents, then ``log p(x, z)``.
        ranks: (Q, S), 0..L.
        draws: L.
        lower, upper: (L,) the band of the number of ranks below i = 1..L, ends included.
        verdicts: (Q,) words.
        levels: (3,) of the central intervals.
        coverage, coverage_lower, coverage_upper: (3, Q).
        log_evidence: estimator to (claim, (S,) nats), of the simulated images.
        family_wise: the chance of any false alarm, at most.
        attrs: program, guide and the like.
    """

    quantities: tuple[str, ...]
    ranks: np.ndarray
    draws: int
    lower: np.ndarray
    upper: np.ndarray
    verdicts: tuple[str, ...]
    levels: np.ndarray
    coverage: np.ndarray
    coverage_lower: np.ndarray
    coverage_upper: np.ndarray
    log_evidence: Mapping[str, tuple[Claim, np.ndarray]]
    family_wise: float
    attrs: Mapping[str, object]

    @property
    def num_simulations(self) -> int:
        """S."""
        return self.ranks.shape[1]

    @property
    def points(self) -> np.ndarray:
        """(L,) i / (L + 1), the share of uniform ranks below i."""
        return np.arange(1, self.draws + 1) / (self.draws + 1)

    @property
    def counts(self) -> np.ndarray:
        """(Q, L) number of ranks below i = 1..L."""
        return (self.ranks[:, None, :] < np.arange(1, self.draws + 1)[:, None]).sum(-1)


def read_calibration(path: Path) -> Calibration:
    """Read ``calibration.nc``.

    Raises:
        InvalidInput: the file is missing or malformed, its numbers are no ranks or not in nats, or a verdict does not
            follow from ranks and band.
    """
    dataset = read_dataset(path, _VARIABLES)
    for name in _ATTRIBUTES:
        if name not in dataset.attrs:
            raise InvalidInput(str(path), name, "this attribute is missing", f"write it as in {SCHEMA}")
    if dataset.attrs["units"] != "nats":
        raise InvalidInput(str(path), f"units {dataset.attrs['units']}", "are not nats", "write nats per image")
    claims = [_claim(path, str(claim)) for claim in dataset["claim"].values]
    estimators = [str(name) for name in dataset["estimator"].values]
    found = Calibration(
        quantities=tuple(map(str, dataset["quantity"].values)),
        ranks=dataset["rank"].values,
        draws=int(dataset.attrs["draws"]),
        lower=dataset["band_lower"].values,
        upper=dataset["band_upper"].values,
        verdicts=tuple(map(str, dataset["verdict"].values)),
        levels=dataset["level"].values,
        coverage=dataset["coverage"].values,
        coverage_lower=dataset["coverage_lower"].values,
        coverage_upper=dataset["coverage_upper"].values,
        log_evidence={
            name: (claim, nats)
            for name, claim, nats in zip(estimators, claims, dataset["log_evidence"].values, strict=True)
        },
        family_wise=float(dataset.attrs["family_wise"]),
        attrs=dict(dataset.attrs),
    )
    _check(path, found)
    return found


def _claim(path: Path, word: str) -> Claim:
    if word not in [claim.value for claim in Claim]:
        known = ", ".join(claim.value for claim in Claim)
        raise InvalidInput(str(path), f"claim {word}", "is no known claim", f"write one of {known}")
    return Claim(word)


def _check(path: Path, found: Calibration) -> None:
    again = f"make it again with: {MAKERS['calibration.nc']}"
    if found.ranks.size == 0 or found.ranks.min() < 0 or found.ranks.max() > found.draws:
        raise InvalidInput(str(path), "rank", f"lies outside 0..{found.draws}", again)
    if len(found.lower) != found.draws:
        raise InvalidInput(str(path), "band_lower", f"has {len(found.lower)} points, not {found.draws}", again)
    inside = ((found.counts >= found.lower) & (found.counts <= found.upper)).all(1)
    for name, word, holds in zip(found.quantities, found.verdicts, inside, strict=True):
        if (word == NOTHING_FOUND) != bool(holds):
            side = "stay inside" if holds else "leave"
            raise InvalidInput(str(path), f"{name}: {word}", f"its ranks {side} the band", again)


def sentences(found: Calibration) -> list[str]:
    """The verdicts in words, faults first; what was not found is no proof, so the coverage is said with it."""
    program = f"{found.attrs['guide']} for {found.attrs['program']}"
    parts: list[str] = []
    for word in sorted(set(found.verdicts) - {NOTHING_FOUND}):
        chosen = [i for i, entry in enumerate(found.verdicts) if entry == word]
        names = _listed([found.quantities[i] for i in chosen])
        meaning = " and ".join(_MEANINGS.get(part, part) for part in word.split(", "))
        parts.append(f"{names}: {word}; {meaning}{_coverage_of(found, chosen)}.")
    calm = [i for i, entry in enumerate(found.verdicts) if entry == NOTHING_FOUND]
    if calm:
        names = _listed([found.quantities[i] for i in calm])
        parts.append(f"{names}: {NOTHING_FOUND} in {found.num_simulations} simulations{_coverage_of(found, calm)}.")
    faults = len(found.verdicts) - len(calm)
    head = f"{program}: {faults} of {len(found.verdicts)} quantities are not calibrated."
    return [head, *parts]


def _coverage_of(found: Calibration, chosen: Sequence[int]) -> str:
    """How often the middle interval holds the truth, over the latents among the chosen quantities."""
    latents = [i for i in chosen if i < len(found.quantities) - 1]
    if not latents:
        return ""
    row = len(found.levels) // 2
    shares = found.coverage[row, latents]
    span = f"{shares.min():.1%}" if len(latents) == 1 else f"{shares.min():.1%} to {shares.max():.1%}"
    return f": its {found.levels[row]:.0%} intervals hold the truth {span} of the time"


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class SimulatedRow:
    """log p(x) of the simulated images by one estimator: mean, standard error, and paired distance to the ELBO."""

    estimator: str
    claim: Claim
    mean: float
    stderr: float
    above_elbo: float
    above_elbo_stderr: float


def simulated_rows(found: Calibration) -> list[SimulatedRow]:
    """The bracket of the expected log p(x) on simulated images, the ELBO first."""
    elbo = next(nats for name, (_, nats) in found.log_evidence.items() if name.startswith("elbo"))
    rows = []
    for name, (claim, nats) in found.log_evidence.items():
        gap = (float("nan"), float("nan")) if nats is elbo else mean_and_stderr(nats - elbo)
        rows.append(SimulatedRow(name, claim, *mean_and_stderr(nats), *gap))
    return rows
