"""The gap of a bound, split per image: log p(x) - ELBO = approximation gap + amortization gap (Cremer, Li & Duvenaud
2018, 1801.03558)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.guides import Guide, GuideProgram

from ..estimators import Elbo, evaluation_mode
from .bracket import Bracket
from .family import FixedPosterior, check_splittable
from .optimize import optimized, start_names
from .settings import GapSettings

OWN = "guide as trained"


class SelectionElbo(Elbo):
    """The ELBO by which the winner among the starts is chosen. Its noise is never reported."""

    prefix = "gap-selection"


class MemberElbo(Elbo):
    """The ELBO of the chosen member, on noise of its own."""

    prefix = "gap-member"


@dataclass(frozen=True, eq=False)
class Gap:
    """What is known of each image's gap, nats, (N,) float64; NaN where a side is not known.

    With E the ELBO of the guide, B that of the best member of its family that was *found*, B* >= B that of the best
    there is, and lower <= log p(x) <= upper:

    - the amortization gap, B* - E, is **at least** B - E: the search may have fallen short;
    - the approximation gap, log p(x) - B*, is **at most** upper - B, for the same reason, and at least 0. Where
      log p(x) has no upper side, nothing above is known of it;
    - log p(x) - B, what the best member found leaves, is at least lower - B: so much is the approximation gap at least
      **if the search has converged**, which no number here proves;
    - the whole gap, log p(x) - E, lies between lower - E and upper - E.

    Attributes:
        values: ``elbo``, ``best_elbo``, ``log_evidence_lower``, ``log_evidence_upper``, ``gap_lower``, ``gap_upper``,
            ``amortization_gap_lower``, ``approximation_gap_upper``, ``approximation_gap_if_converged``.
        stderr: the Monte Carlo standard error of each, by the same names.
        candidates: what the best member was chosen among: the guide as trained, then the starts.
        elbo_of_candidate: (C, N) their ELBOs on the noise of the choice. The highest of them is biased upwards, and is
            reported nowhere: ``best_elbo`` is taken anew.
        chosen: (N,) index of the winner.
        bracket: what is known of log p(x), and from where.
    """

    values: Mapping[str, np.ndarray]
    stderr: Mapping[str, np.ndarray]
    candidates: Sequence[str]
    elbo_of_candidate: np.ndarray
    chosen: np.ndarray
    bracket: Bracket = field(repr=False)


def decompose(
    program: nn.Module, guide: GuideProgram, x: Tensor, index: Sequence[int], bracket: Bracket,
    settings: GapSettings | None = None, *, seed: int = 0, progress: bool = False,
) -> Gap:  # fmt: skip
    """Split the gap of each image.

    The best member is sought by per-image ascent of the ELBO from several starts (``optimized``), the encoder's own
    answer among them. Each image then takes the best of what the starts reached and of the guide as it was trained,
    chosen on one set of noise; the winner's ELBO is estimated on another. Reporting the highest value itself would
    bias a lower bound upwards, and an optimizer that found nothing would still seem to have gained. So B - E is at
    least zero but for its standard error.

    What all images share (the weights of a flow, degrees of freedom of a Student t) belongs to the family and is not
    optimized; what the encoder emits is.

    Args:
        program, guide: the pair.
        x: images (N, D).
        index: their indices in the split: keys of their noise.
        bracket: what is known of log p(x) on these images.
        settings: what the search may spend.
        seed: first part of the key of the noise.
        progress: show a bar.

    Raises:
        InvalidInput: as ``check_splittable``.
        NonFiniteError: if a log-density comes out NaN or +infinity.
    """
    settings = settings or GapSettings()
    check_splittable(program, guide, x)
    with evaluation_mode(program, guide):
        found = optimized(program, guide, x, index, settings, seed, progress)
        own = Elbo(guide, settings.final_particles, seed=seed)(program, x, index)
        scores, best = zip(
            *(choose(program, guide, found[:, row], x[row : row + 1], index[row], settings, seed)
              for row in range(len(x))), strict=True,
        )  # fmt: skip
    values = {"elbo": as_array(own.values), "best_elbo": np.array([value for value, _ in best])}
    stderr = {"elbo": as_array(own.stderr), "best_elbo": np.array([error for _, error in best])}
    table = np.array(scores).T
    return Gap(*split(values, stderr, bracket), [OWN, *start_names(len(found))], table, table.argmax(0), bracket)


def choose(
    program: nn.Module, guide: Guide, parameters: Tensor, image: Tensor, index: int, settings: GapSettings, seed: int
) -> tuple[list[float], tuple[float, float]]:
    """The candidates of one image (1, D) from parameters (S, P): their ELBOs on the noise of the choice, and the
    winner's on fresh noise with its standard error."""
    members = [guide.posterior(image), *(guide.family(row.unsqueeze(0)) for row in parameters)]
    count = settings.final_particles
    scores = [elbo_of(SelectionElbo, program, member, image, index, count, seed)[0] for member in members]
    winner = members[int(np.argmax(scores))]
    return scores, elbo_of(MemberElbo, program, winner, image, index, count, seed)


def elbo_of(
    kind: type[Elbo], program: nn.Module, member: TorchDistribution, image: Tensor, index: int, count: int, seed: int
) -> tuple[float, float]:
    """ELBO of one image (1, D) under a distribution of z, with its standard error."""
    estimator = kind(FixedPosterior(member), count, seed=seed)
    row = estimator.summarize(estimator.weights(program, image, index))
    return float(row["value"]), float(row["stderr"])


def split(
    values: Mapping[str, np.ndarray], stderr: Mapping[str, np.ndarray], bracket: Bracket
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All values of ``Gap`` and their standard errors from the two ELBOs, whose noise is independent, and the
    bracket."""
    values = {**values, "log_evidence_lower": bracket.lower, "log_evidence_upper": bracket.upper}
    stderr = {**stderr, "log_evidence_lower": bracket.lower_stderr, "log_evidence_upper": bracket.upper_stderr}
    for name, (higher, lower) in DIFFERENCES.items():
        values[name] = values[higher] - values[lower]
        stderr[name] = np.hypot(stderr[higher], stderr[lower])
    return values, stderr


DIFFERENCES = {
    "gap_lower": ("log_evidence_lower", "elbo"),
    "gap_upper": ("log_evidence_upper", "elbo"),
    "amortization_gap_lower": ("best_elbo", "elbo"),
    "approximation_gap_upper": ("log_evidence_upper", "best_elbo"),
    "approximation_gap_if_converged": ("log_evidence_lower", "best_elbo"),
}


def as_array(values: Tensor) -> np.ndarray:
    """(N,) in float64 on the CPU, as numpy."""
    return values.double().cpu().numpy()
