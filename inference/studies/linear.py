"""The one case where collapse is known: the linear program, prediction beside measurement, written to ``linear.nc``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy  # loads its parts where they are used: together they take a second
import torch
import xarray as xr
from torch import Tensor, nn

from ppl_models.guides import DiagonalNormal
from ppl_models.programs import LinearVAE

from ..data import load_data
from ..measures import THRESHOLD
from ..netcdf import write_netcdf
from ..objectives import LinearElbo

FOLDER, FILE = "linear", "linear.nc"
# What it is measured on: the training images of the study's data, and images with a known spectrum.
IMAGES, SYNTHETIC = "images", "synthetic"
LATENTS, SIGMAS = {"quick": 8, "full": 16}, 12
RESTARTS = {"quick": 2, "full": 5}
# Of the synthetic images: each direction has two thirds of the variance of the one before.
SPECTRUM_DIM, SPECTRUM_RATIO, SPECTRUM_IMAGES = 20, 2 / 3, 2000
ITERATIONS = 1000


def synthetic_images(seed: int = 0) -> Tensor:
    """Normal images whose covariance has the eigenvalues (2/3)^i, in random directions: (2000, 20), float64."""
    rng = np.random.default_rng(seed)
    directions, _ = np.linalg.qr(rng.normal(size=(SPECTRUM_DIM, SPECTRUM_DIM)))
    spread = SPECTRUM_RATIO ** (np.arange(SPECTRUM_DIM) / 2)
    return torch.from_numpy((rng.normal(size=(SPECTRUM_IMAGES, SPECTRUM_DIM)) * spread) @ directions.T)


def predicted_variance(eigenvalues: Tensor, variance: float) -> Tensor:
    """Var_x E[z_l | x] at the optimum, max(0, 1 - sigma^2 / lambda_l): (L,) -> (L,).

    At the maximum of the likelihood the columns of W are eigenvectors of length sqrt(lambda - sigma^2), or zero
    (Tipping & Bishop 1999), and the posterior mean along one is sqrt(lambda - sigma^2) / lambda times the image's
    coordinate, whose variance is lambda. The ELBO of a diagonal guide has its maxima there (Lucas et al. 2019,
    1911.02469, sections 4.2 and 5), so that a latent is dead exactly where lambda <= sigma^2.
    """
    return (1 - variance / eigenvalues).clamp(min=0)


def best_elbo(eigenvalues: Tensor, latents: int, variance: float) -> float:
    """The largest mean ELBO over the images, nats: with the kept eigenvalues K = {l <= L: lambda_l > sigma^2},

    -1/2 (D log 2 pi + sum_K (log lambda + 1) + (D - |K|) log sigma^2 + sum_{not K} lambda / sigma^2).

    Args:
        eigenvalues: (D,), falling.
        latents: L.
        variance: sigma^2.
    """
    kept = eigenvalues[:latents][eigenvalues[:latents] > variance]
    dead = len(eigenvalues) - len(kept)
    left = (eigenvalues.sum() - kept.sum()).item() / variance
    explained = kept.log().sum().item() + len(kept)
    return -0.5 * (len(eigenvalues) * math.log(2 * math.pi) + explained + dead * math.log(variance) + left)


def predicted_curvature(eigenvalues: Tensor, variance: float) -> float:
    """Largest curvature of the ELBO at the collapsed point W = 0, q(z | x) = p(z), nats: positive where it is unstable.

    Along an eigenvector, W = a u and E[z | x] = v u^T (x - b) / sqrt(lambda) change the ELBO by a v sqrt(lambda) /
    sigma^2 - a^2 / (2 sigma^2) - v^2 / 2 to second order. Its Hessian is negative definite exactly where lambda <
    sigma^2: the collapsed point becomes a maximum as sigma^2 passes the largest eigenvalue (Lucas et al. 2019, section
    4.1, in the guide's parameters too). Far beyond that edge the guide's scales, not these two, are the flattest.
    """
    noise = 1 / variance
    return float((-(noise + 1) + math.sqrt((noise + 1) ** 2 - 4 * noise * (1 - eigenvalues[0].item() / variance))) / 2)


class WhitenedPair(nn.Module):
    """A ``LinearVAE`` and a ``DiagonalNormal`` without hidden layers, as they are trained here.

    The guide's net reads whitened images y = diag(lambda)^(-1/2) U^T (x - mean), which is the same net in other
    coordinates: ``guide`` gives it back in those of x. The ELBO is trained on 2 r points with the images' mean and
    covariance, r its rank: where the scale of the guide is the same for all images, as at every maximum, the ELBO
    depends on nothing else. What is reported is measured on the images.

    Args:
        x: images (N, D).
        latents: L.
        levels: of the images.
        scale: sigma; ``None`` to learn it.
    """

    def __init__(self, x: Tensor, latents: int, levels: int, scale: float | None) -> None:
        super().__init__()
        x = x.double()
        self.program = LinearVAE(x.shape[1], latents, levels, scale).double()
        self.posterior = DiagonalNormal(x.shape[1], latents, (), levels=levels).double()
        eigenvalues, vectors = LinearVAE.spectrum(x)
        kept = eigenvalues > 1e-9 * eigenvalues[0]
        spread, self.unit = eigenvalues[kept].sqrt(), self.program.family.unit
        self.mean, self.whiten = x.mean(0), (vectors[:, kept] / spread).T
        rank = len(spread)
        eye = torch.eye(rank, dtype=torch.float64) * math.sqrt(rank)
        self.white = torch.cat([eye, -eye])
        self.points = self.mean + (self.white * spread) @ vectors[:, kept].T
        self.net = nn.Linear(rank, 2 * latents).double()
        self.objective = LinearElbo(self.program, self.posterior)

    def trained(self) -> list[nn.Parameter]:
        """What is trained: the program and the guide's net in whitened coordinates."""
        return [*self.program.parameters(), *self.net.parameters()]

    def forward(self) -> Tensor:
        """The negative ELBO, nats: ()."""
        return -self.objective.elbo(self.points, self.posterior.family(self.net(self.white))).mean()

    @torch.no_grad()
    def guide(self) -> DiagonalNormal:
        """The guide on images (N, D)."""
        first = next(module for module in self.posterior.encoder.modules() if isinstance(module, nn.Linear))
        first.weight.copy_(self.net.weight @ self.whiten * self.unit)
        first.bias.copy_(self.net.bias - self.net.weight @ self.whiten @ self.mean)
        return self.posterior

    def fit(self) -> WhitenedPair:
        """Minimise by L-BFGS from where it is."""
        optimizer = torch.optim.LBFGS(
            self.trained(), max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe",
            tolerance_grad=1e-6, tolerance_change=1e-11,
        )  # fmt: skip

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = self()
            loss.backward()
            return loss

        optimizer.step(closure)
        return self

    def collapse(self) -> WhitenedPair:
        """Go to the collapsed point: W = 0, b the mean of the images, and the prior as the guide's answer."""
        with torch.no_grad():
            for parameter in (*self.net.parameters(), self.program.decoder.weight):
                parameter.zero_()
            self.program.decoder.bias.copy_(self.mean / self.unit)
        return self

    def curvature(self) -> float:
        """Largest eigenvalue of the ELBO's Hessian where it is, W and b in units of x, by Lanczos on products with
        it."""
        parameters = self.trained()
        flat = torch.autograd.grad(-self(), parameters, create_graph=True)
        units = torch.cat([
            torch.full((p.numel(),), self.unit if p is self.program.decoder.weight or p is self.program.decoder.bias
                       else 1.0, dtype=torch.float64) for p in parameters
        ])  # fmt: skip
        gradient = torch.cat([part.reshape(-1) for part in flat])

        def product(vector: np.ndarray) -> np.ndarray:
            direction = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1)) / units
            parts = torch.autograd.grad(gradient, parameters, direction, retain_graph=True)
            return (torch.cat([part.reshape(-1) for part in parts]) / units).numpy()

        operator = scipy.sparse.linalg.LinearOperator((len(units), len(units)), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).normal(size=len(units))
        settings = {"k": 1, "which": "LA", "v0": start, "tol": 1e-6, "return_eigenvectors": False}
        return float(scipy.sparse.linalg.eigsh(operator, **settings)[0])


@dataclass(frozen=True)
class Fit:
    """One restart: (L,) variances of the posterior means over the images, falling; mean ELBO in nats; sigma."""

    variance: np.ndarray
    elbo: float
    scale: float


def fit(x: Tensor, latents: int, levels: int, scale: float | None, seed: int) -> Fit:
    """Train from random weights and measure on the images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pair = WhitenedPair(x, latents, levels, scale)
    pair.fit()
    with torch.no_grad():
        mean = pair.guide().posterior(x.double()).base_dist.loc
        variance = mean.var(0, unbiased=False).sort(descending=True).values
        return Fit(variance.numpy(), pair.objective.elbo(x.double()).mean().item(), pair.program.scale.item())


def sigma_grid(eigenvalues: Tensor, latents: int, count: int = SIGMAS) -> list[float]:
    """From where every latent is of use to where none is, evenly in log sigma."""
    ends = 0.8 * eigenvalues[latents - 1].sqrt(), 1.1 * eigenvalues[0].sqrt()
    return torch.logspace(*(math.log10(end) for end in ends), count, dtype=torch.float64).tolist()


def measure_linear(
    x: Tensor, levels: int, restarts: int, latents: int, sigmas: list[float] | None = None
) -> xr.Dataset:
    """What ``linear.nc`` holds (``docs/files.md``): theory and measurement over sigma, and with sigma learned.

    Args:
        x: images (N, D).
        levels: of the images; 0 for real values.
        restarts: how many random starts of each.
        latents: L.
        sigmas: noise in units of x; ``sigma_grid`` unless given.
    """
    eigenvalues, _ = LinearVAE.spectrum(x)
    sigmas = sigmas or sigma_grid(eigenvalues, latents)
    fits = [[fit(x, latents, levels, sigma, seed) for seed in range(restarts)] for sigma in sigmas]
    free = [fit(x, latents, levels, None, seed) for seed in range(restarts)]
    best = eigenvalues[latents:].mean().item()  # sigma^2 of maximum likelihood
    curvatures = [WhitenedPair(x, latents, levels, sigma).collapse().curvature() for sigma in sigmas]
    over = ("sigma", "restart", "latent")
    predicted = [predicted_variance(eigenvalues[:latents], sigma**2).numpy() for sigma in sigmas]
    return xr.Dataset(
        {
            "predicted": (("sigma", "latent"), predicted),
            "measured": (over, [[each.variance for each in row] for row in fits]),
            "best_elbo": ("sigma", [best_elbo(eigenvalues, latents, s**2) for s in sigmas]),
            "elbo": (over[:2], [[each.elbo for each in row] for row in fits]),
            "predicted_curvature": ("sigma", [predicted_curvature(eigenvalues, s**2) for s in sigmas]),
            "curvature": ("sigma", curvatures),
            "eigenvalue": ("latent", eigenvalues[:latents].numpy()),
            "learned_predicted": ("latent", predicted_variance(eigenvalues[:latents], best).numpy()),
            "learned_measured": (over[1:], [each.variance for each in free]),
            "learned_elbo": ("restart", [each.elbo for each in free]),
            "learned_sigma": ("restart", [each.scale for each in free]),
        },
        {"sigma": sigmas},
        {"units": "nats", "threshold": THRESHOLD, "images": len(x), "pixels": x.shape[1], "levels": levels,
         "learned_best_sigma": math.sqrt(best), "learned_best_elbo": best_elbo(eigenvalues, latents, best)},
    )  # fmt: skip


def make(name: str, data: str, data_dir: Path | None, out: Path, budget: str) -> None:
    """Write ``linear.nc`` of one source into the study folder, whole or not at all; the study's training images."""
    if name == SYNTHETIC:
        x, levels, attrs = synthetic_images(), 0, {"data": SYNTHETIC, "data_digest": ""}
    else:
        images = load_data(data, data_dir)
        x, levels, attrs = images.split("train"), images.levels, {"data": images.name, "data_digest": images.digest}
    found = measure_linear(x, levels, RESTARTS[budget], LATENTS[budget]).assign_attrs(attrs)
    folder = out / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    write_netcdf(folder / FILE, found)
