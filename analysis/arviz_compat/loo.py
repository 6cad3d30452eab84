"""log p and log q of guide draws, as ``loo_approximate_posterior`` takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analysis.arviz_compat.restarts import to_arviz
from analysis.arviz_compat.trees import open_tree
from analysis.arviz_compat.weights import psis
from analysis.errors import InvalidInput
from analysis.files import MAKERS

_NEEDED = ("log_p", "log_q", "log_likelihood_given_z")


def approximate_posterior(path: Path, image: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """What ``az.loo_approximate_posterior(data, log_p, log_q)`` of 1.x takes, for one image of ``latents.nc``.

    The image is the only observation that its z explains: images do not share a z, so that leaving out one of many has
    no meaning here. Left out, the posterior becomes the prior, and elpd = log E_p(z)[p(x | z)] = log p(x).

    Args:
        path: ``latents.nc``.
        image: an index along its ``image`` dimension.

    Returns:
        The data with groups ``posterior`` and ``log_likelihood`` (``x``: chain, draw, image), and log p(x, z) and
        log q(z | x), (draws of all chains,).
    """
    groups = open_tree(path)
    statistics = _statistics(path, groups)
    if not 0 <= image < statistics.sizes["image"]:
        raise InvalidInput("image", image, f"is not in {path.name}", f"give 0 to {statistics.sizes['image'] - 1}")
    one = statistics.isel(image=[image])
    likelihood = one["log_likelihood_given_z"].rename("x").to_dataset()
    posterior = groups["posterior"].isel(image=image, drop=True)
    log_p, log_q = (one[name].transpose("chain", "draw", "image").values.ravel() for name in ("log_p", "log_q"))
    return to_arviz({"posterior": posterior, "log_likelihood": likelihood}), log_p, log_q


def loo_approximate_posterior(path: Path) -> xr.Dataset:
    """``az.loo_approximate_posterior`` of every image alone, in both majors (0.23 has no such function).

    Smoothed weights w_k of log p(x, z_k) - log q(z_k | x) - log p(x | z_k), normalized (Magnusson et al. 2019,
    1904.10679); elpd = log sum_k w_k p(x | z_k). It estimates log p(x) by draws of q reweighted to the *prior*, where
    importance weighting (`inference.estimators.ImportanceWeighted`) reweights to the posterior: it is an ``ESTIMATE``,
    no bound, and its k-hat is mostly above 0.7 because a good q is much narrower than the prior.

    Returns:
        ``elpd`` and ``pareto_k`` over ``image``, in nats; attribute ``claim`` = ``ESTIMATE``.
    """
    statistics = _statistics(path, open_tree(path)).stack(k=("chain", "draw")).transpose("k", "image")
    log_p, log_q, likelihood = (statistics[name].values for name in _NEEDED)
    smoothed, k_hat = psis(log_p - log_q - likelihood)
    elpd = np.logaddexp.reduce(smoothed + likelihood, axis=0)
    columns = {"elpd": ("image", elpd), "pareto_k": ("image", k_hat)}
    return xr.Dataset(columns, {"image": statistics["image"].values}, {"claim": "ESTIMATE", "units": "nats"})


def _statistics(path: Path, groups: dict[str, xr.Dataset]) -> xr.Dataset:
    statistics = groups.get("sample_stats", xr.Dataset())
    for name in _NEEDED:
        if name not in statistics:
            raise InvalidInput(str(path), f"sample_stats/{name}", "is missing", f"make it with: {MAKERS['latents.nc']}")
    return statistics[list(_NEEDED)]
