"""The cures of a study of posterior collapse: what each reaches, what it costs, and whether it is one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.claims import Claim
from analysis.cure_files import CureRuns, number, read_cure_runs
from analysis.errors import Incomparable
from analysis.limits import Limits, over_images, over_seeds
from analysis.runs import Study
from analysis.sides import check_all_comparable

# Nats per image: a rate below the first is collapse; a cure lifts it above the second, and loses less than the third.
COLLAPSED, CURED, MARGIN = 0.5, 3.0, 0.2
# What a cure's evidence is held against: the program without latents, which is exact, and the one without a cure.
REFERENCES = ("decoder", "plain")
NAMES = {"decoder": "the decoder alone", "plain": "the plain VAE"}


@dataclass(frozen=True)
class Check:
    """Whether a cure does what it is for.

    Attributes:
        what: the measured number and its bound, in words.
        value, bound: mean over seeds; NaN where there is none.
        holds: in every seed.
    """

    what: str
    value: float
    bound: float
    holds: bool


@dataclass(frozen=True, eq=False)
class CureRow:
    """One member over its seeds; nats per image.

    Attributes:
        name, what, setting, purpose: the member, the cure in words, its strength, and what it is there for.
        seeds: those that are averaged.
        estimator, claim: where the evidence comes from.
        evidence: log p(x), limits over images.
        elbo: at beta = 1; NaN without latents.
        sandwich: width on simulated images; NaN where there is none.
        rate: KL(q(z | x) || p(z)), limits over images; ``None`` without latents.
        distortion: -E_q[log p(x | z)]; of a program without latents -log p(x).
        points: (S, 2) rate and distortion of each seed.
        active, latents: active units, mean over seeds, and of how many.
        information: bracket of I_q(x; z), means over seeds.
        accuracy, chance: of a linear probe of z; NaN where there is none.
        updates, seconds: of the training, means over seeds.
        cost: updates and seconds over those of the plain VAE; NaN without one.
        check: whether it does what it is for; ``None`` where nothing is promised.
        loss: reference -> its evidence minus this one's, limits over images.
        loss_over_seeds: the same of the methods.
    """

    name: str
    what: str
    setting: str
    purpose: str
    seeds: tuple[int, ...]
    estimator: str
    claim: Claim
    evidence: Limits
    elbo: float
    sandwich: float
    rate: Limits | None
    distortion: float
    points: np.ndarray
    active: float
    latents: int
    information: tuple[float, float]
    accuracy: float
    chance: float
    updates: float
    seconds: float
    cost: tuple[float, float]
    check: Check | None
    loss: Mapping[str, Limits]
    loss_over_seeds: Mapping[str, Limits]

    @property
    def is_cure(self) -> bool:
        """Whether it is one of those that are judged: a cure, or the proposed one."""
        return self.purpose in ("cure", "proposed")

    @property
    def has_collapsed(self) -> bool:
        """The 95% upper limit of the rate is below .5 nats."""
        return self.rate is not None and self.rate.upper < COLLAPSED

    @property
    def has_rate(self) -> bool:
        """The 95% lower limit of the rate is above 3 nats."""
        return self.rate is not None and self.rate.lower > CURED

    def succeeds(self, over_seeds: bool = False) -> bool:
        """A rate above 3 nats, and a loss of evidence whose 95% upper limit is below .2 against every reference."""
        losses = self.loss_over_seeds if over_seeds else self.loss
        return self.has_rate and bool(losses) and all(limits.upper < MARGIN for limits in losses.values())

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.rate is None or self.purpose == "plain":
            return "collapsed" if self.has_collapsed else ""
        if self.succeeds():
            return "cures, over seeds too" if self.succeeds(over_seeds=True) else "cures in these runs"
        if self.has_collapsed:
            return "collapsed all the same"
        return "loses evidence, or may" if self.has_rate else "rate too low"


def cure_rows(study: Study) -> tuple[list[CureRow], list[tuple[str, str]]]:
    """Every member whose runs have ``cure.json``, and those that are left out, with the reason.

    Raises:
        InvalidInput: for a malformed ``cure.json``, ``probe.json`` or ``collapse.nc``.
    """
    found: list[CureRuns] = []
    left_out: list[tuple[str, str]] = []
    for member in study.members:
        try:
            runs = read_cure_runs(member)
        except Incomparable as error:
            left_out.append((member.name, str(error)))
            continue
        if runs is not None:
            found.append(runs)
    references = {name: next((runs for runs in found if runs.purpose == name), None) for name in REFERENCES}
    present = {name: runs for name, runs in references.items() if runs is not None}
    rows = []
    for runs in found:
        try:
            rows.append(_row(runs, present))
        except Incomparable as error:
            left_out.append((runs.name, str(error)))
    return rows, left_out


def _row(runs: CureRuns, references: Mapping[str, CureRuns]) -> CureRow:
    pairs = {name: _paired(other, runs) for name, other in references.items() if other is not runs}
    updates, seconds = runs.training
    plain = references.get("plain")
    base = plain.training if plain else (math.nan, math.nan)
    accuracy, chance = runs.probe
    collapse = runs.collapse
    return CureRow(
        name=runs.name,
        what=str(runs.cures[0]["cure"]),
        setting=str(runs.cures[0]["setting"]),
        purpose=runs.purpose,
        seeds=tuple(run.seed for run in runs.runs),
        estimator=runs.estimator,
        claim=runs.claim,
        evidence=over_images(runs.nats.mean(axis=0)),
        elbo=runs.mean_of("elbo"),
        sandwich=runs.sandwich,
        rate=over_images(np.mean([found.rate for found in collapse], axis=0)) if collapse else None,
        distortion=runs.mean_of("distortion") if collapse else -float(runs.nats.mean()),
        points=_points(runs),
        active=runs.mean_of("active_units"),
        latents=int(collapse[0]["num_latents"].value) if collapse else 0,
        information=(runs.mean_of("information_lower"), runs.mean_of("information_upper")),
        accuracy=accuracy,
        chance=chance,
        updates=updates,
        seconds=seconds,
        cost=(updates / base[0], seconds / base[1]),
        check=check_of(runs, plain),
        loss={name: over_images(a.mean(axis=0) - b.mean(axis=0)) for name, (a, b) in pairs.items()},
        loss_over_seeds={name: over_seeds(a, b) for name, (a, b) in pairs.items()},
    )


def _paired(reference: CureRuns, runs: CureRuns) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of both on the leading images they share: (S_R, N), (S, N); raises ``Incomparable``."""
    check_all_comparable([reference.runs[0].evidence, runs.runs[0].evidence])
    n = min(reference.nats.shape[1], runs.nats.shape[1])
    return reference.nats[:, :n], runs.nats[:, :n]


def _points(runs: CureRuns) -> np.ndarray:
    if not runs.collapse:
        return np.stack([np.zeros(len(runs.nats)), -runs.nats.mean(axis=1)], axis=1)
    return np.array([[found["rate"].value, found["distortion"].value] for found in runs.collapse])


def check_of(runs: CureRuns, plain: CureRuns | None) -> Check | None:
    """The check that the runs made of themselves, or else whether their information exceeds the plain VAE's."""
    if runs.purpose in REFERENCES:
        return None
    own = [cure.get("check") for cure in runs.cures]
    if all(own):
        value, bound = (float(np.mean([number(check[key]) for check in own])) for key in ("value", "bound"))
        return Check(str(own[0]["what"]), value, bound, all(check["holds"] for check in own))
    if plain is None or not (runs.collapse and plain.collapse):
        return None
    lower = [found["information_lower"].value for found in runs.collapse]
    upper = max(found["information_upper"].value for found in plain.collapse)
    what = "lower bound of the information in each seed, above the upper bound of the plain VAE's"
    return Check(what, min(lower), upper, min(lower) > upper)
