"""Posterior collapse of one run: the content of ``collapse.nc``, and the curves that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from analysis.claims import Claim
from analysis.errors import InvalidInput
from analysis.files import SCHEMA, read_dataset

_MEASURE = ("measure",)
_VARIABLES = {
    "value": _MEASURE,
    "stderr": _MEASURE,
    "stderr_monte_carlo": _MEASURE,
    "claim": _MEASURE,
    "meaning": _MEASURE,
    "reason": _MEASURE,
    "units": _MEASURE,
    "measure": _MEASURE,
    "image": ("image",),
    "latent": ("latent",),
    "site": ("latent",),
    "rate": ("image",),
    "log_likelihood": ("image",),
    "elbo": ("image",),
    "log_likelihood_shuffled": ("image",),
    "log_likelihood_prior": ("image",),
    "information_lower": ("image",),
    "information_upper": ("image",),
    "kl": ("image", "latent"),
    "mean_variance": ("latent",),
    "mean_variance_stderr": ("latent",),
    "prior_scale": ("latent",),
    "active": ("latent",),
    "active_scaled": ("latent",),
    "information_latent": ("latent",),
    "information_latent_stderr": ("latent",),
}
_ATTRIBUTES = (
    "measure", "levels", "program", "guide", "data", "data_digest", "split", "seed", "num_images", "num_draws",
    "threshold",
)  # fmt: skip
_NEEDED = ("rate", "distortion", "elbo", "active_units", "num_latents", "information_lower", "information_upper")


@dataclass(frozen=True)
class Measure:
    """One number about a pair on the images of a split.

    Attributes:
        name: as in ``collapse.nc``.
        value: in ``units``; NaN where it is not known.
        stderr: over images: how it would move with other images; NaN where there is none.
        stderr_monte_carlo: its own noise on these images; 0 where there is none, NaN where it is not known.
        claim: its relation to the quantity that ``meaning`` names, which is log p(x) for the ELBO alone.
        meaning: one sentence.
        reason: why there is no value, or what it is restricted to; empty otherwise.
        units: ``nats`` (per image), ``latents``, ``share`` or ``grey levels``.
    """

    name: str
    value: float
    stderr: float
    stderr_monte_carlo: float
    claim: Claim
    meaning: str
    reason: str
    units: str

    @property
    def is_known(self) -> bool:
        """Whether there is a value."""
        return self.claim is not Claim.NONE and not math.isnan(self.value)


@dataclass(frozen=True, eq=False)
class CollapseMeasures:
    """What one run's latents carry of the images of one split: the content of ``collapse.nc``.

    Attributes:
        measures: the named numbers.
        latents: (L,) names such as ``z[3]``.
        sites: (L,) the latent site of each.
        kl: (M, L) KL(q(z_l | x) || p(z_l)) per image, nats; NaN where guide or prior does not factorize.
        rate, log_likelihood, elbo: (M,) per image, nats.
        images: (M,) their indices in the split.
        mean_variance, mean_variance_stderr: (L,) Var_x[E_q(z_l | x)], and its standard error over images.
        prior_scale: (L,) standard deviation under the prior.
        active, active_scaled: (L,) bool, the variance against the threshold, and against it on the prior's scale.
        information_latent, information_latent_stderr: (L,) I_q(n; z_l), nats; NaN where the guide does not factorize.
        threshold: of an active dimension.
        num_images: N, those of the aggregate posterior.
        num_draws: S, draws of z per image.
        base_measure: ``mass`` or ``density``.
        levels, program, guide, data, data_digest, split, seed: what was measured on what.
        dataset: the whole file.
    """

    measures: Mapping[str, Measure]
    latents: np.ndarray
    sites: np.ndarray
    kl: np.ndarray
    rate: np.ndarray
    log_likelihood: np.ndarray
    elbo: np.ndarray
    images: np.ndarray
    mean_variance: np.ndarray
    mean_variance_stderr: np.ndarray
    prior_scale: np.ndarray
    active: np.ndarray
    active_scaled: np.ndarray
    information_latent: np.ndarray
    information_latent_stderr: np.ndarray
    threshold: float
    num_images: int
    num_draws: int
    base_measure: str
    levels: int
    program: str
    guide: str
    data: str
    data_digest: str
    split: str
    seed: int
    dataset: xr.Dataset

    def __getitem__(self, name: str) -> Measure:
        """A measure by name.

        Raises:
            InvalidInput: for an unknown one, with the known names.
        """
        if name not in self.measures:
            raise InvalidInput("measure", name, "was not measured", f"known: {', '.join(self.measures)}")
        return self.measures[name]


def read_collapse(path: Path) -> CollapseMeasures:
    """Read ``collapse.nc``.

    Raises:
        InvalidInput: the file is missing or malformed, a claim is unknown, a refused measure has a value or no reason.
    """
    dataset = read_dataset(path, _VARIABLES)
    for name in _ATTRIBUTES:
        if name not in dataset.attrs:
            raise InvalidInput(str(path), name, "this attribute is missing", f"write it as in {SCHEMA}")
    if str(dataset.attrs.get("units")) != "nats":
        raise InvalidInput(str(path), f"units {dataset.attrs.get('units')}", "are not nats", "write nats per image")
    measures = {str(name): _measure(path, dataset, place) for place, name in enumerate(dataset["measure"].values)}
    for name in _NEEDED:
        if name not in measures:
            raise InvalidInput(str(path), name, "this measure is missing", f"write it as in {SCHEMA}")
    columns = {
        name: np.asarray(dataset[name].values, dtype=float)
        for name in (
            "kl", "rate", "log_likelihood", "elbo", "mean_variance", "mean_variance_stderr", "prior_scale",
            "information_latent", "information_latent_stderr",
        )
    }  # fmt: skip
    attrs = dataset.attrs
    return CollapseMeasures(
        measures=measures,
        latents=dataset["latent"].values,
        sites=dataset["site"].values,
        images=dataset["image"].values,
        active=dataset["active"].values.astype(bool),
        active_scaled=dataset["active_scaled"].values.astype(bool),
        threshold=float(attrs["threshold"]),
        base_measure=str(attrs["measure"]),
        **{name: int(attrs[name]) for name in ("num_images", "num_draws", "levels", "seed")},
        **{name: str(attrs[name]) for name in ("program", "guide", "data", "data_digest", "split")},
        dataset=dataset,
        **columns,
    )


def _measure(path: Path, dataset: xr.Dataset, place: int) -> Measure:
    entry = dataset.isel(measure=place)
    name, claim = str(entry["measure"].item()), str(entry["claim"].item())
    if claim not in [known.value for known in Claim]:
        known = ", ".join(word.value for word in Claim)
        raise InvalidInput(str(path), f"claim {claim}", "is no known claim", f"write one of {known}")
    numbers = {key: float(entry[key].item()) for key in ("value", "stderr", "stderr_monte_carlo")}
    words = {key: str(entry[key].item()) for key in ("meaning", "reason", "units")}
    measure = Measure(name=name, claim=Claim(claim), **numbers, **words)
    problem = ""
    if measure.claim is Claim.NONE and not math.isnan(measure.value):
        problem = "was refused and still has a value"
    elif measure.claim is Claim.NONE and not measure.reason:
        problem = "was refused without a reason"
    elif measure.claim is not Claim.NONE and math.isnan(measure.value):
        problem = f"claims {measure.claim} and has no value"
    elif measure.stderr < 0 or measure.stderr_monte_carlo < 0:
        problem = "has a negative standard error"
    if problem:
        raise InvalidInput(str(path), name, problem, f"write it as in {SCHEMA}")
    return measure


def collapse_curve(measures: CollapseMeasures, epsilon: np.ndarray, delta: float = 0.01) -> np.ndarray:
    """Share of the dimensions that are (epsilon, delta)-collapsed, for every epsilon: (E,).

    Dimension l is, if KL(q(z_l | x) || p(z_l)) < epsilon on at least a share 1 - delta of the images (Lucas et al.
    2019, 1911.02469, definition 1). NaN where there is no divergence per dimension.

    Args:
        measures: of one run.
        epsilon: (E,) nats.
        delta: in [0, 1).
    """
    if np.isnan(measures.kl).any():
        return np.full(len(epsilon), np.nan)
    below = (measures.kl[None] < np.asarray(epsilon)[:, None, None]).mean(axis=1)
    return (below >= 1 - delta).mean(axis=1)
