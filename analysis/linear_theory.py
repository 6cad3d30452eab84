"""The linear program, where theory says which latents die: the content of ``linear.nc``, and what it establishes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from analysis.errors import InvalidInput
from analysis.files import SCHEMA, read_dataset
from analysis.runs import Study

# How far prediction and measurement may lie apart: in Var E[z | x], which is at most 1, and in nats per image.
VARIANCE_TOLERANCE, ELBO_TOLERANCE = 0.02, 0.01
_GRID = ("sigma", "restart", "latent")
_VARIABLES = {
    "sigma": ("sigma",),
    "predicted": ("sigma", "latent"),
    "measured": _GRID,
    "best_elbo": ("sigma",),
    "elbo": ("sigma", "restart"),
    "predicted_curvature": ("sigma",),
    "curvature": ("sigma",),
    "eigenvalue": ("latent",),
    "learned_predicted": ("latent",),
    "learned_measured": ("restart", "latent"),
    "learned_elbo": ("restart",),
    "learned_sigma": ("restart",),
}
_ATTRIBUTES = ("data", "images", "pixels", "threshold", "learned_best_sigma", "learned_best_elbo")


@dataclass(frozen=True, eq=False)
class LinearTheory:
    """Prediction and measurement on one set of images, over G values of sigma, R restarts and L latents.

    Attributes:
        name: its folder in the study.
        data: name of the images.
        images, pixels: how many.
        threshold: of an active latent, in Var_x[E[z | x]].
        sigma: (G,) in units of x, rising.
        eigenvalues: (L,) of the images' covariance, falling.
        predicted: (G, L) Var_x[E[z | x]].
        measured: (G, R, L) of trained pairs, falling along L.
        best_elbo, elbo: (G,) and (G, R), nats per image.
        predicted_curvature, curvature: (G,) largest of the ELBO's Hessian at the collapsed point, nats.
        learned_predicted, learned_measured: (L,) and (R, L), where sigma is learned.
        learned_elbo, learned_sigma: (R,).
        learned_best_elbo, learned_best_sigma: of maximum likelihood.
    """

    name: str
    data: str
    images: int
    pixels: int
    threshold: float
    sigma: np.ndarray
    eigenvalues: np.ndarray
    predicted: np.ndarray
    measured: np.ndarray
    best_elbo: np.ndarray
    elbo: np.ndarray
    predicted_curvature: np.ndarray
    curvature: np.ndarray
    learned_predicted: np.ndarray
    learned_measured: np.ndarray
    learned_elbo: np.ndarray
    learned_sigma: np.ndarray
    learned_best_elbo: float
    learned_best_sigma: float

    @property
    def error(self) -> float:
        """The largest distance of a measured Var E[z | x] from the predicted one."""
        return float(abs(self.measured - self.predicted[:, None]).max())

    @property
    def agrees(self) -> bool:
        """Whether every latent at every sigma from every restart lies within .02 of its prediction."""
        return self.error <= VARIANCE_TOLERANCE

    @property
    def predicted_alive(self) -> np.ndarray:
        """(G,) how many latents theory says are active."""
        return (self.predicted >= self.threshold).sum(-1)

    @property
    def measured_alive(self) -> np.ndarray:
        """(G, R) how many are."""
        return (self.measured >= self.threshold).sum(-1)

    @property
    def elbo_spread(self) -> float:
        """The largest distance of a restart's ELBO from the best one there is, nats; with sigma learned too."""
        learned = abs(self.learned_elbo - self.learned_best_elbo).max()
        return float(max(abs(self.elbo - self.best_elbo[:, None]).max(), learned))

    @property
    def stable(self) -> np.ndarray:
        """(G,) whether the collapsed point is a maximum, as measured."""
        return self.curvature < 0


def read_linear(path: Path) -> LinearTheory:
    """``linear.nc``.

    Raises:
        InvalidInput: if it is missing or malformed.
    """
    dataset = read_dataset(path, _VARIABLES)
    for name in _ATTRIBUTES:
        if name not in dataset.attrs:
            raise InvalidInput(str(path), name, "this attribute is missing", f"write it as in {SCHEMA}")
    if not all(np.isfinite(dataset[name]).all() for name in _VARIABLES):
        raise InvalidInput(str(path), "(content)", "holds a number that is not finite", "make the study again")
    return _as_theory(path.parent.name, dataset)


def _as_theory(name: str, dataset: xr.Dataset) -> LinearTheory:
    attrs = dataset.attrs
    columns = {key: dataset[key].values for key in _VARIABLES if key != "eigenvalue"}
    return LinearTheory(
        name, str(attrs["data"]), int(attrs["images"]), int(attrs["pixels"]), float(attrs["threshold"]),
        eigenvalues=dataset["eigenvalue"].values, learned_best_elbo=float(attrs["learned_best_elbo"]),
        learned_best_sigma=float(attrs["learned_best_sigma"]), **columns,
    )  # fmt: skip


def linear_theories(study: Study) -> tuple[list[LinearTheory], list[str]]:
    """What a study wrote of the linear program, and the folders that lack it."""
    names = [str(name) for name in study.meta.get("linear", [])]
    files = {name: study.path / name / "linear.nc" for name in names}
    return [read_linear(file) for file in files.values() if file.exists()], [n for n in names if not files[n].exists()]


def linear_statements(theory: LinearTheory) -> list[str]:
    """What the numbers establish, in sentences that are computed from them."""
    grid, restarts, latents = theory.measured.shape
    agree = "agree" if theory.agrees else "do not agree"
    lines = [
        f"{theory.data}: predicted and measured Var E[z | x] {agree} within {VARIANCE_TOLERANCE} for every one of "
        f"{latents} latents, {grid} values of sigma and {restarts} restarts: at most {theory.error:.2g} apart."
    ]
    right = int((theory.measured_alive == theory.predicted_alive[:, None]).sum())
    lines.append(
        f"The number of active latents at the threshold {theory.threshold:g} is the predicted one in {right} of "
        f"{grid * restarts} trainings; it falls from {theory.predicted_alive[0]} to {theory.predicted_alive[-1]} as "
        "sigma grows."
    )
    if theory.elbo_spread <= ELBO_TOLERANCE:
        lines.append(
            f"All restarts reach the best ELBO there is, to {theory.elbo_spread:.1g} nats. That is consistent with the "
            "ELBO adding no local maxima, and says nothing of starts that were not tried."
        )
    else:
        lines.append(f"A restart ends {theory.elbo_spread:.2g} nats from the best ELBO there is.")
    alive = int((theory.learned_measured >= theory.threshold).all(0).sum())
    lines.append(f"With sigma learned, {alive} of {latents} latents are active in every restart.")
    lines.append(_stability(theory))
    return lines


def _stability(theory: LinearTheory) -> str:
    edge = float(np.sqrt(theory.eigenvalues[0]))
    right = (theory.stable == (theory.sigma > edge)).all()
    stable = theory.sigma[theory.stable]
    where = f"from sigma = {stable.min():.3f} on" if stable.size else "nowhere on the grid"
    return (
        f"The collapsed point is stable {where}; theory puts the edge at the square root of the largest eigenvalue, "
        f"{edge:.3f}{'' if right else ', which it contradicts'}."
    )
