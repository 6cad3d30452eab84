"""Stacking: the mixture of a study's members that gives the validation images the highest log p(x).

A mixture of programs is a program, and its log p(x) follows from theirs: log sum_m w_m p_m(x). Weights are fitted on
the validation images and read on the test images, and only among members whose numbers carry the same claim: between an
exact value and a bound the weights would measure how tight the bound is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from analysis.claims import Claim
from analysis.errors import Incomparable, InvalidInput
from analysis.evidence import Values, check_comparable, common_images
from analysis.runs import Member, Study
from analysis.sides import best_values, check_all_comparable, in_short
from analysis.statistics import mean_and_stderr


@dataclass(frozen=True)
class Stacking:
    """Weights of the members that share a claim, and what their mixture gives the test images.

    Attributes:
        label: the reading that they share, for example ``iw:5000, lower bound``.
        claim: theirs, and the mixture's.
        members, weights: one weight per member, at least 0, summing to 1.
        log_evidence, stderr: mean log p(x) of the mixture over the test images, nats, and its standard error.
        best: the member with the highest mean on the validation images; the test images had no say.
        gain, gain_stderr: mixture minus ``best`` on the test images, paired.
        num_valid, num_test: images.
    """

    label: str
    claim: Claim
    members: tuple[str, ...]
    weights: tuple[float, ...]
    log_evidence: float
    stderr: float
    best: str
    gain: float
    gain_stderr: float
    num_valid: int
    num_test: int


@dataclass(frozen=True, eq=False)
class _Entry:
    """A member's log p(x) of both splits, its seeds mixed."""

    name: str
    label: str
    claim: Claim
    valid: np.ndarray
    test: np.ndarray


def stacking_weights(log_p: np.ndarray) -> np.ndarray:
    """Weights that maximize mean_i log sum_m w_m p_m(x_i) on the simplex (Yao et al. 2018, 1704.02030, log score).

    The problem is concave; at its optimum mean_i p_m(x_i) / sum_l w_l p_l(x_i) is 1 where w_m > 0 and at most 1
    elsewhere, which is checked to 1e-4.

    Args:
        log_p: (M, N) nats, members by images.

    Returns:
        (M,) weights.

    Raises:
        InvalidInput: not (M, N), NaN or +inf among them, an image impossible under every member, or no optimum found.
    """
    values = np.asarray(log_p, dtype=float)
    top = values.max(axis=0, initial=-np.inf) if values.ndim == 2 else np.array([np.nan])
    if values.ndim != 2 or values.size == 0 or np.isnan(values).any() or not np.isfinite(top).all():
        problem = "is not (M, N) with a finite value for every image"
        raise InvalidInput("log_p", f"of shape {values.shape}", problem, "leave out images that no member can make")
    p = np.exp(values - top)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = np.maximum(weights @ p, np.finfo(float).tiny)
        return -float(np.log(mixed).mean()), -(p / mixed).mean(axis=1)

    start = np.full(len(p), 1 / len(p))
    options = {"ftol": 1e-12, "maxiter": 1000}
    simplex = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like}
    found = minimize(
        loss, start, jac=True, method="SLSQP", bounds=[(0, 1)] * len(p), constraints=simplex, options=options
    )
    weights = np.clip(found.x, 0, None) / np.clip(found.x, 0, None).sum()
    if -loss(weights)[1].min() > 1 + 1e-4:
        raise InvalidInput("log_p", f"of shape {values.shape}", "no optimal weights were found", "leave out a member")
    return weights


def stack(study: Study) -> tuple[list[Stacking], list[tuple[str, str]]]:
    """The mixtures of a study, one per claim that two members or more share, and who was left out, with the reason.

    Several seeds of a member are mixed with equal weights, log (1/S) sum_s p_s(x): a program again, with the same
    claim (for bounds v_s of unbiased estimates of p(x), E exp(v_s) <= p_s(x) and Jensen's inequality).
    """
    entries, left_out = [], []
    for member in study.members:
        try:
            entries.append(_entry(member))
        except Incomparable as error:
            left_out.append((member.name, str(error)))
    groups: dict[str, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.label, []).append(entry)
    found = []
    for label, group in groups.items():
        if len(group) < 2:
            left_out.append((group[0].name, f"no other member was read by {label}"))
            continue
        try:
            _check_same_data(study, group)
            found.append(_stacked(label, group))
        except (Incomparable, InvalidInput) as error:
            left_out.append((", ".join(entry.name for entry in group), str(error)))
    return found, left_out


def _entry(member: Member) -> _Entry:
    """Raises ``Incomparable`` where there is no reading that all its runs have of both splits."""
    runs = [run for run in member.runs if run.evidence is not None]
    if not runs or not all(run.evidence.numbers for run in runs):
        raise Incomparable("has no number")
    if any(run.validation is None for run in runs):
        raise Incomparable("no evidence of the validation images: python -m inference.evaluate RUN --split valid")
    both = [run.validation for run in runs], [run.evidence for run in runs]
    for evidence in both:
        check_all_comparable(evidence)
    best = best_values(*both[0], *both[1])
    if best is None:
        raise Incomparable("no estimator with a direction was run on both splits")
    claim, estimator = best[0].claim, best[0].estimator
    label = in_short(estimator, claim) if claim is Claim.LOWER_BOUND else claim.words
    valid, test = best[: len(runs)], best[len(runs) :]
    return _Entry(member.name, label, claim, _mixed(valid), _mixed(test))


def _mixed(readings: Sequence[Values]) -> np.ndarray:
    nats = np.stack([values.nats for values in readings])
    n = common_images(nats, nats)
    return logsumexp(nats[:, :n], axis=0) - np.log(len(nats))


def _check_same_data(study: Study, group: Sequence[_Entry]) -> None:
    names = {entry.name for entry in group}
    runs = [next(r for r in member.runs if r.evidence) for member in study.members if member.name in names]
    for run in runs[1:]:
        check_comparable(runs[0].evidence, run.evidence)
        check_comparable(runs[0].validation, run.validation)


def _stacked(label: str, group: Sequence[_Entry]) -> Stacking:
    n_valid, n_test = (min(getattr(entry, side).size for entry in group) for side in ("valid", "test"))
    valid, test = (np.stack([entry.valid[:n_valid] for entry in group]), np.stack([e.test[:n_test] for e in group]))
    weights = stacking_weights(valid)
    mixture = logsumexp(test, axis=0, b=weights[:, None])
    best = int(valid.mean(axis=1).argmax())
    with np.errstate(invalid="ignore"):  # -inf - -inf: the best member cannot make an image
        gain, gain_stderr = mean_and_stderr(mixture - test[best])
    mean, stderr = mean_and_stderr(mixture)
    names, shares = tuple(entry.name for entry in group), tuple(float(w) for w in weights)
    best_name = group[best].name
    claim = group[0].claim
    return Stacking(label, claim, names, shares, mean, stderr, best_name, gain, gain_stderr, n_valid, n_test)
