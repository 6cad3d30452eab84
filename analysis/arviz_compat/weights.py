"""Pareto-smoothed importance sampling with one sign in both majors."""

from __future__ import annotations

import numpy as np

from analysis.arviz_compat.door import is_legacy, load_arviz
from analysis.errors import InvalidInput

_EVEN = 1e-9  # nats: weights that differ by rounding alone


def psis(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pareto-smoothed importance weights (Vehtari et al. 2024, JMLR 25), one problem per image.

    Args:
        log_weights: (K, N), log p(x, z_k) - log q(z_k | x), as `inference.weights` gives them.

    Returns:
        Smoothed log weights (K, N), normalized so that their exponentials sum to one over K, and k-hat (N,): above 0.7
        the mean of the weights has no reliable error; NaN for equal weights,
        those of an exact guide, which have no tail (1.x stops there).

    Raises:
        InvalidInput: not a (K, N) array of finite numbers with K >= 2.
    """
    weights = np.array(log_weights, dtype=float)
    if weights.ndim != 2 or weights.shape[0] < 2 or not np.isfinite(weights).all():
        value = f"of shape {weights.shape}"
        raise InvalidInput("log_weights", value, "is not (K, N), finite, K >= 2", "give one row per particle")
    smoothed, k_hat = np.full(weights.shape, -np.log(len(weights))), np.full(weights.shape[1], np.nan)
    uneven = np.ptp(weights, axis=0) > _EVEN
    if uneven.any():
        smoothed[:, uneven], k_hat[uneven] = _psislw(weights[:, uneven])
    return smoothed, k_hat


def _psislw(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    arviz = load_arviz()
    if is_legacy(arviz):
        smoothed, k_hat = arviz.psislw(weights.T)
    else:
        from arviz_stats.base import array_stats

        smoothed, k_hat = array_stats.psislw(-weights.T, axis=-1)
    return np.asarray(smoothed).T, np.atleast_1d(np.asarray(k_hat))
