"""The jackknifed bound against the sums left out one by one, and against the truth in the mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from inference import Claim, log_weights
from inference.estimators import ImportanceWeighted, JackknifedImportanceWeighted
from inference.estimators.jackknife import leave_one_out
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import VAE


def by_hand(log_w: np.ndarray) -> tuple[float, float]:
    """Value and standard error from the K sums, each in full."""
    count = len(log_w)

    def level(weights: np.ndarray) -> float:
        return float(np.logaddexp.reduce(weights) - np.log(len(weights)))

    without = np.array([level(np.delete(log_w, k)) for k in range(count)])
    value = count * level(log_w) - (count - 1) * without.mean()
    return value, math.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())


@pytest.mark.parametrize("scale", [0.5, 3.0, 60.0])
def test_it_is_the_jackknife_of_the_log_mean(tiny_guide: DiagonalNormal, scale: float) -> None:
    log_w = torch.randn(40, dtype=torch.float64) * scale - 300
    found = JackknifedImportanceWeighted(tiny_guide, 40).summarize(log_w)
    value, stderr = by_hand(log_w.numpy())
    assert float(found["value"]) == pytest.approx(value, abs=1e-9)
    assert float(found["stderr"]) == pytest.approx(stderr, rel=1e-6)


def test_leaving_out_a_weight_that_is_all_of_the_sum_leaves_the_others() -> None:
    log_w = torch.tensor([0.0, -800.0, -801.0], dtype=torch.float64)
    expected = np.logaddexp(-800.0, -801.0) - math.log(2)
    assert float(leave_one_out(log_w)[0]) == pytest.approx(expected, abs=1e-12)


def test_its_bias_is_smaller_than_that_of_the_bound(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, quadrature: Callable[[VAE, Tensor], Tensor], four_pixel_images: Tensor
) -> None:
    """4000 replicates of K = 4: the bound lies below the truth beyond error, the jackknife within, or much nearer."""
    truth = quadrature(tiny_vae, four_pixel_images[5:6])
    with torch.no_grad():
        log_w = log_weights(tiny_vae, tiny_guide, four_pixel_images[5:6].expand(4000, -1), 4).double()
    bias = {}
    for estimator in (ImportanceWeighted, JackknifedImportanceWeighted):
        summarize = estimator(tiny_guide, 4).summarize
        error = torch.stack([summarize(weights)["value"] for weights in log_w.T]) - truth
        bias[estimator] = (float(error.mean()), float(error.std()) / math.sqrt(4000))
    mean, stderr = bias[ImportanceWeighted]
    assert mean < -4 * stderr
    corrected, stderr = bias[JackknifedImportanceWeighted]
    assert abs(corrected) < 0.5 * abs(mean) + 3 * stderr


def test_it_claims_no_bound_and_needs_two_weights(tiny_vae: VAE, tiny_guide: DiagonalNormal) -> None:
    estimate = JackknifedImportanceWeighted(tiny_guide, 16)(tiny_vae, torch.ones(2, 4))
    assert estimate.claim is Claim.ESTIMATE
    assert set(estimate.diagnostics) == {"ess", "pareto_k"}
    with pytest.raises(InvalidInput, match="K >= 2"):
        JackknifedImportanceWeighted(tiny_guide, 1)
