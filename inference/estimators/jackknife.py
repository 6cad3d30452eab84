"""The importance-weighted bound with its bias taken off to first order: an estimate, no bound any more."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram

from ..claims import Claim
from .importance import ImportanceWeighted


class JackknifedImportanceWeighted(ImportanceWeighted):
    """K L_K - (K - 1) mean_k L_{K-1}^{(k)}, with L_K = log 1/K sum_k w_k and L_{K-1}^{(k)} the same without weight k
    (Nowozin 2018, "Debiasing evidence approximations", eq. 9; the jackknife of Quenouille 1949).

    The bias of L_K is -Var[w] / (2 K p(x)^2) + O(K^-2); the jackknife leaves O(K^-2), of either sign. What is lost is
    the direction: the claim is ``ESTIMATE``, and where the weights' tail is heavy (``pareto_k`` above 0.7) not even the
    expansion holds. The standard error is the jackknife's own, sqrt((K - 1) / K sum_k (L^{(k)} - mean L)^2) (Tukey
    1958). Diagnostics as ``ImportanceWeighted``; the noise is its own.

    Args:
        guide, num_particles, seed, max_elements: as ``ImportanceWeighted``; K >= 2.

    Raises:
        InvalidInput: for K < 2.
    """

    prefix = "jackknife"
    claim = Claim.ESTIMATE

    def __init__(self, guide: GuideProgram, num_particles: int, **options: int) -> None:
        super().__init__(guide, num_particles, **options)
        if num_particles < 2:
            raise InvalidInput("num_particles", num_particles, "leaving one out leaves none", "give K >= 2")

    def summarize(self, log_w: Tensor) -> dict[str, Tensor]:
        """The jackknife of the log-weights (K,), with diagnostics."""
        found = super().summarize(log_w)
        without = leave_one_out(log_w)
        count = len(log_w)
        # K L - (K - 1) m = L + (K - 1) (L - m): the difference first, or K times the rounding would be left.
        value = found["value"] + (count - 1) * (found["value"] - without).mean()
        stderr = ((count - 1) * (without - without.mean()).square().mean()).sqrt()
        return {**found, "value": value, "stderr": stderr}


def leave_one_out(log_w: Tensor) -> Tensor:
    """log 1/(K-1) sum_{j != k} w_j for every k: (K,) -> (K,), in O(K).

    log(S - w_k) = log S + log(1 - w_k / S) loses its digits where one weight is nearly all of the sum, which only the
    largest can be: there the others are summed.
    """
    count, total = len(log_w), log_w.logsumexp(0)
    share = (log_w - total).exp()
    rest = total + torch.log1p(-share)
    largest = int(log_w.argmax())
    others = torch.cat([log_w[:largest], log_w[largest + 1 :]])
    rest[largest] = others.logsumexp(0)
    return rest - math.log(count - 1)
