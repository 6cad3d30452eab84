"""The study of the walk-through, written by hand: a linear-Gaussian program whose log p(x) is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm


def linear_latents(file: Path, x: np.ndarray, draws: int = 4000, wide: float = 1.0) -> np.ndarray:
    """``latents.nc`` of z ~ N(0, 1), x ~ N(z, 1) with a guide N(x / 2, ``wide``^2 / 2), two chains; the exact log p(x).

    log p(x) = log N(x; 0, 2).
    """
    rng = np.random.default_rng(4)
    spread = wide * np.sqrt(0.5)
    z = x / 2 + spread * rng.normal(size=(2, draws // 2, x.size))
    likelihood, prior = norm.logpdf(x, z, 1), norm.logpdf(z)
    log_q = norm.logpdf(z, x / 2, spread)
    columns: dict[str, Any] = {"log_p": prior + likelihood, "log_q": log_q, "log_likelihood_given_z": likelihood}
    columns["log_weight"] = prior + likelihood - log_q
    dims = ("chain", "draw", "image")
    coords = {"chain": [0, 1], "draw": np.arange(draws // 2), "image": np.arange(x.size)}
    statistics = xr.Dataset({name: (dims, values) for name, values in columns.items()}, coords)
    posterior = xr.Dataset({"z": ((*dims, "latent"), np.repeat(z[..., None], 4, axis=-1))}, coords)
    xr.DataTree.from_dict({"posterior": posterior, "sample_stats": statistics}).to_netcdf(file, engine="h5netcdf")
    return norm.logpdf(x, 0, np.sqrt(2))
