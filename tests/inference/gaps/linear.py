"""A linear program whose every answer stands in closed form, in numpy, and guides that are off by a known amount."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ppl_models.guides import DiagonalNormal, FullRankNormal
from ppl_models.programs import LinearVAE

DATA_DIM, LATENT_DIM, SIGMA = 6, 3, 0.7


def program() -> LinearVAE:
    """z in R^3, x in R^6, with a posterior whose latents are strongly correlated."""
    made = LinearVAE(DATA_DIM, LATENT_DIM, levels=0)
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(DATA_DIM, LATENT_DIM)) + 0.8
    with torch.no_grad():
        made.decoder.weight.copy_(torch.tensor(weight) / made.family.unit)
        made.decoder.bias.copy_(torch.tensor(rng.normal(size=DATA_DIM)) / made.family.unit)
        made.family.log_scale.fill_(math.log(SIGMA / made.family.unit))
    return made


def images(count: int) -> Tensor:
    """(N, D) real numbers of the size the program expects."""
    return torch.tensor(np.random.default_rng(5).normal(0, 2, (count, DATA_DIM)), dtype=torch.float32)


class Truth:
    """Tipping & Bishop's (1999) formulas in numpy.

    Args:
        made: the program, read off for W, b and sigma.
        x: images (N, D).
    """

    def __init__(self, made: LinearVAE, x: Tensor) -> None:
        unit = made.family.unit
        weight = made.decoder.weight.detach().double().numpy() * unit
        bias = made.decoder.bias.detach().double().numpy() * unit
        centred = x.double().numpy() - bias
        covariance = weight @ weight.T + SIGMA**2 * np.eye(DATA_DIM)
        square = np.einsum("nd,de,ne->n", centred, np.linalg.inv(covariance), centred)
        self.log_evidence = -(square + np.linalg.slogdet(2 * np.pi * covariance)[1]) / 2
        self.precision = np.eye(LATENT_DIM) + weight.T @ weight / SIGMA**2
        self.covariance = np.linalg.inv(self.precision)
        self.mean = centred @ weight @ self.covariance / SIGMA**2

    def divergence(self, shift: np.ndarray, scales: np.ndarray) -> float:
        """KL(N(mean + shift, diag scales^2) || p(z | x))."""
        trace = (self.precision.diagonal() * scales**2).sum()
        log_det = np.linalg.slogdet(self.precision)[1]
        return (trace - LATENT_DIM + shift @ self.precision @ shift - 2 * np.log(scales).sum() - log_det) / 2

    @property
    def best_scales(self) -> np.ndarray:
        """Of the diagonal normal that is closest."""
        return self.precision.diagonal() ** -0.5


def raw(scales: np.ndarray) -> np.ndarray:
    """What ``softplus(raw + log(e - 1)) + 1e-5`` makes these scales of."""
    return np.log(np.expm1(scales - 1e-5)) - math.log(math.e - 1)


class Planted(DiagonalNormal):
    """The posterior's mean plus a shift, with given scales, for every image."""

    def __init__(self, truth: Truth, x: Tensor, shift: np.ndarray, scales: np.ndarray) -> None:
        super().__init__(DATA_DIM, LATENT_DIM, (4,))
        rows = np.concatenate([truth.mean + shift, np.tile(raw(scales), (len(x), 1))], 1)
        self.x, self.rows = x, torch.tensor(rows, dtype=torch.float32)

    def encode(self, x: Tensor) -> Tensor:
        """Looked up: the images are those that the guide was planted for."""
        return self.rows[torch.cdist(x, self.x).argmin(1)]


class ExactFullRank(FullRankNormal):
    """The posterior itself, plus a shift of its mean."""

    def __init__(self, truth: Truth, x: Tensor, shift: float = 0.0) -> None:
        super().__init__(DATA_DIM, LATENT_DIM, (4,))
        tril = np.linalg.cholesky(truth.covariance)
        below = tril[np.tril_indices(LATENT_DIM, -1)]
        fixed = np.concatenate([raw(tril.diagonal()), below])
        rows = np.concatenate([truth.mean + shift, np.tile(fixed, (len(x), 1))], 1)
        self.x, self.rows = x, torch.tensor(rows, dtype=torch.float32)

    def encode(self, x: Tensor) -> Tensor:
        """As ``Planted``."""
        return self.rows[torch.cdist(x, self.x).argmin(1)]
