"""The Pareto shape of importance weights: how heavy their tail is."""

from __future__ import annotations

import math

import torch
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor

# Below five exceedances a tail has no shape to speak of (Vehtari et al. 2024, 1507.02646, appendix).
SMALLEST_TAIL = 5
NEGLIGIBLE = 1e-100


def pareto_shape(log_w: Tensor) -> Tensor:
    """k of a generalized Pareto distribution fitted to the largest min(K/5, 3 sqrt(K)) weights: (K,) -> ().

    Moments of order 1/k and above do not exist: k < 0.5 gives a finite variance, k > 0.7 makes importance sampling
    unreliable (Vehtari et al. 2024, 1507.02646). NaN if there are too few weights, -infinity if the tail is constant,
    +infinity if fewer than five weights lie above the rest by anything that a float64 can hold: they decide alone.
    """
    tail = int(min(len(log_w) / 5, 3 * math.sqrt(len(log_w))))
    if tail < SMALLEST_TAIL or not torch.isfinite(log_w).any():
        return log_w.new_tensor(math.nan)
    top = log_w.double().sort().values[-tail - 1 :]
    weights = (top - top[-1]).exp()
    exceedances = weights[1:] - weights[0]
    if top[-1] == top[0]:
        return log_w.new_tensor(-math.inf)
    # Below this share of the largest weight an exceedance is rounding, and the fit would divide by it.
    exceedances = exceedances[exceedances > NEGLIGIBLE]
    if len(exceedances) < SMALLEST_TAIL:
        return log_w.new_tensor(math.inf)
    try:
        shape, _ = fit_generalized_pareto(exceedances)
    except ZeroDivisionError:
        # Pyro's fit divides by k/sigma = 0: the tail is exponential, k = 0 before the prior of ten observations at 0.5.
        shape = 5 / (len(exceedances) + 10)
    return log_w.new_tensor(shape)
