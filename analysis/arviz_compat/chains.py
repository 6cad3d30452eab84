"""Whether Markov chains agree, and how far their means and deviations can be trusted, by ArviZ."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.arviz_compat.door import load_arviz


def chain_diagnostics(draws: xr.DataArray) -> xr.Dataset:
    """R-hat, effective sample sizes and Monte Carlo errors of draws with dimensions ``chain``, ``draw`` and others.

    Rank-normalized split R-hat, bulk and tail effective sample size (Vehtari et al. 2021, 1903.08008): R-hat below 1.01
    and 400 effective draws are what that paper asks for. ArviZ's own functions, the same in both majors.

    Returns:
        ``r_hat``, ``ess_bulk``, ``ess_tail``, and ``mcse_mean``, ``mcse_sd``, the standard errors of mean and standard
        deviation, over the other dimensions. Chains that never moved have an R-hat that is infinite, or NaN if they
        stand at the same place: ArviZ divides by their variance.
    """
    arviz, data = load_arviz(), draws.rename("draws").to_dataset()
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "r_hat": arviz.rhat(data, method="rank"),
            "ess_bulk": arviz.ess(data, method="bulk"),
            "ess_tail": arviz.ess(data, method="tail"),
            "mcse_mean": arviz.mcse(data, method="mean"),
            "mcse_sd": arviz.mcse(data, method="sd"),
        }
    return xr.Dataset({name: result["draws"] for name, result in found.items()})
