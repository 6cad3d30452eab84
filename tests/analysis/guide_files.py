"""``calibration.nc`` and ``posterior.nc`` written by hand with numpy and xarray, from the schema in docs/files.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm

NOTHING_FOUND = "nothing found"
SIMULATIONS, DRAWS = 200, 19
ATTRIBUTES = {
    "units": "nats",
    "measure": "mass",
    "levels": 2,
    "program": "VAE",
    "guide": "DiagonalNormal",
    "data": "digits",
    "data_digest": "sha256:aaaa",
    "split": "simulated",
    "seed": 0,
}


def ranks_of(width: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """(S,) ranks, among draws of N(0, 1), of truths that are the quantiles of N(shift, width^2)."""
    truth = shift + width * norm.ppf((np.arange(SIMULATIONS) + 0.5) / SIMULATIONS)
    return np.floor((DRAWS + 1) * norm.cdf(truth)).astype(np.int32)


def calibration_dataset(ranks: np.ndarray, verdicts: list[str], **attributes: Any) -> xr.Dataset:
    """A file's content: ranks (Q, S), a band of +- 3 binomial standard deviations, and bounds 2 nats apart."""
    points = np.arange(1, DRAWS + 1) / (DRAWS + 1)
    spread = 3 * np.sqrt(SIMULATIONS * points * (1 - points))
    levels = np.array([0.5, 0.8, 0.9])
    tails = np.round((1 - levels) / 2 * (DRAWS + 1)).astype(int)
    inside = np.stack([((ranks >= a) & (ranks <= DRAWS - a)).mean(1) for a in tails])
    exact = -20 - np.random.default_rng(2).gamma(4, 1, SIMULATIONS)
    offsets = {"elbo:19": ("LOWER_BOUND", -0.75), "exact": ("EXACT", 0.0), "eubo": ("UPPER_BOUND", 1.25)}
    per_level = ("level", "quantity")
    return xr.Dataset(
        {
            "rank": (("quantity", "simulation"), ranks),
            "band_lower": ("point", np.ceil(SIMULATIONS * points - spread).astype(int)),
            "band_upper": ("point", np.floor(SIMULATIONS * points + spread).astype(int)),
            "p_value": ("quantity", np.full(len(ranks), 0.5)),
            "location": ("quantity", np.zeros(len(ranks))),
            "spread": ("quantity", np.ones(len(ranks))),
            "coverage": (per_level, inside),
            "coverage_lower": (per_level, inside - 0.05),
            "coverage_upper": (per_level, inside + 0.05),
            "log_evidence": (("estimator", "simulation"), np.stack([exact + gap for _, gap in offsets.values()])),
        },
        {
            "quantity": [*[f"z[{i}]" for i in range(len(ranks) - 1)], "log p(x, z)"],
            "verdict": ("quantity", verdicts),
            "point": points,
            "level": levels,
            "estimator": list(offsets),
            "claim": ("estimator", [claim for claim, _ in offsets.values()]),
        },
        ATTRIBUTES | {"draws": DRAWS, "family_wise": 0.05, "false_alarms": 0.01} | attributes,
    )


def write_calibration(folder: Path, ranks: np.ndarray | None = None, verdicts: list[str] | None = None) -> Path:
    """By default z[0] is overconfident, z[1] calm, and log p(x, z) shifted."""
    if ranks is None:
        ranks = np.stack([ranks_of(1.6), ranks_of(), ranks_of(shift=-0.7)])
        verdicts = ["overconfident", NOTHING_FOUND, "draws too probable"]
    path = folder / "calibration.nc"
    calibration_dataset(ranks, verdicts or []).to_netcdf(path, engine="h5netcdf")
    return path


def group(sites: dict[str, np.ndarray], images: list[int], attributes: dict[str, Any]) -> xr.Dataset:
    """Arrays (chain, draw, image, ...) as the writer names their dimensions."""
    chains, draws = next(iter(sites.values())).shape[:2]
    coords = {"chain": np.arange(chains), "draw": np.arange(draws), "image": images}
    dims = ("chain", "draw", "image")
    columns = {name: ((*dims, f"{name}_dim")[: array.ndim], array) for name, array in sites.items()}
    return xr.Dataset(columns, coords, attributes)


def write_posterior(
    folder: Path, nuts: dict[str, np.ndarray], guide: dict[str, np.ndarray], images: list[int], diverging: np.ndarray
) -> Path:
    """Draws by site (chain, draw, image, latent); ``diverging`` (chain, draw, image)."""
    attributes = ATTRIBUTES | {"split": "test", "warmup": 100, "sampler": "NUTS"}
    pixels = xr.Dataset({"x": (("image", "pixel"), np.zeros((len(images), 4)))}, {"image": images})
    groups = {
        "posterior": group(nuts, images, attributes),
        "sample_stats": group({"diverging": diverging.astype(np.int8)}, images, attributes),
        "guide": group(guide, images, attributes),
        "observed_data": pixels,
    }
    path = folder / "posterior.nc"
    xr.DataTree.from_dict(groups).to_netcdf(path, engine="h5netcdf")
    return path


def planted(rng: np.random.Generator, chains: int = 4, draws: int = 500) -> dict[str, Any]:
    """Two images of three latents. NUTS draws N(0, 1) independently; the guide of image 7 has half the deviation on
    z[0], one and a half times on z[1], and a mean that is off by 1 on z[2]; that of image 9 is right. Site ``w`` of one
    latent is right on both."""
    nuts = {"z": rng.normal(size=(chains, draws, 2, 3)), "w": rng.normal(5, 2, (chains, draws, 2, 1))}
    guide = {"z": rng.normal(size=(1, 2000, 2, 3)), "w": rng.normal(5, 2, (1, 2000, 2, 1))}
    guide["z"][:, :, 0] = guide["z"][:, :, 0] * [0.5, 1.5, 1.0] + [0.0, 0.0, 1.0]
    return {"nuts": nuts, "guide": guide, "images": [7, 9], "diverging": np.zeros((chains, draws, 2))}
