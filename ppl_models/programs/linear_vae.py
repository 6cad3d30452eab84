"""Probabilistic principal components: the variational autoencoder whose every answer is known in closed form."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions.real_pixels import SMALLEST_SCALE
from ..errors import InvalidInput
from ..program import HasLogProb
from .decoder import DecoderProgram


class LinearVAE(DecoderProgram, HasLogProb):
    """z ~ N(0, I), x | z ~ N(W z + b, sigma^2 I) with learnable W and b: a density over real-valued pixels.

    Integrating z out gives x ~ N(b, W W^T + sigma^2 I), and with M = W^T W + sigma^2 I the posterior is z | x ~ N(M^-1
    W^T (x - b), sigma^2 M^-1) (Tipping & Bishop 1999). Its maximum likelihood is principal component analysis, and the
    ELBO adds no local maxima to it (Lucas et al. 2019, 1911.02469).

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z, at most D - 1 for the closed-form fit.
        levels: number of grey levels that are treated as real numbers; 0 for real-valued data.
        scale: sigma in units of x, held fixed; ``None`` to learn it. A fixed one decides which latents are of use:
            those whose eigenvalue of the data's covariance exceeds sigma^2 (Lucas et al. 2019, section 4.1).

    Raises:
        InvalidInput: for a fixed sigma that is no finite number of at least a thousandth of the largest grey level.
    """

    def __init__(self, data_dim: int, latent_dim: int = 16, levels: int = 2, scale: float | None = None) -> None:
        super().__init__(data_dim, latent_dim, levels=levels, likelihood="gaussian")
        self.decoder = nn.Linear(latent_dim, data_dim)
        if scale is not None:
            self._fix_scale(scale)

    def _fix_scale(self, scale: float) -> None:
        """Make the logarithm of sigma a buffer, under the name the learnable one has."""
        unit = self.family.unit
        if not SMALLEST_SCALE * unit <= scale < math.inf:
            problem = "is no standard deviation of a pixel"
            raise InvalidInput("scale", scale, problem, f"give a finite number of at least {SMALLEST_SCALE * unit:g}")
        del self.family.log_scale
        self.family.register_buffer("log_scale", torch.tensor(math.log(scale / unit)))

    @property
    def weight(self) -> Tensor:
        """W in units of x: (D, L)."""
        return self.decoder.weight * self.family.unit

    @property
    def bias(self) -> Tensor:
        """b in units of x: (D,)."""
        return self.decoder.bias * self.family.unit

    @property
    def scale(self) -> Tensor:
        """sigma in units of x: ()."""
        return self.family.scale

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(x; b, W W^T + sigma^2 I) in nats, computed in float64: (..., D) -> (...)."""
        weight, bias, variance = self.weight.double(), self.bias.double(), self.scale.double().square()
        marginal = dist.LowRankMultivariateNormal(bias, weight, variance.expand(self.data_dim))
        return marginal.log_prob(x.double()).to(torch.promote_types(x.dtype, torch.float32))

    def posterior(self, x: Tensor) -> TorchDistribution:
        """The exact p(z | x): (..., D) -> batch shape (...), event shape (L,)."""
        weight, bias, variance = self.weight.double(), self.bias.double(), self.scale.double().square()
        eye = torch.eye(self.latent_dim, dtype=torch.float64, device=weight.device)
        inner = torch.linalg.inv(weight.T @ weight + variance * eye)
        mean = (x.double() - bias) @ weight @ inner
        covariance = variance * (inner + inner.T) / 2
        return dist.MultivariateNormal(mean.to(x), scale_tril=torch.linalg.cholesky(covariance).to(x))

    @torch.no_grad()
    def fit_closed_form(self, x: Tensor) -> LinearVAE:
        """Take the parameters of maximum likelihood, which are unique up to a rotation of z; returns the program.

        b is the mean of the images; with the eigenvalues lambda_1 >= ... >= lambda_D of their covariance S (divided by
        N, not by N - 1) and its first L eigenvectors U, sigma^2 = mean of lambda_{L+1}, ..., lambda_D and
        W = U (diag(lambda_1, ..., lambda_L) - sigma^2 I)^(1/2) (Tipping & Bishop 1999, eq. 7 and 8). Where sigma is
        fixed, a column whose lambda is below sigma^2 is zero.

        Args:
            x: images (N, D).

        Raises:
            InvalidInput: for L >= D, which leaves no variance to sigma, or images on a subspace of L dimensions, where
                sigma is learned; for fewer than two images.
        """
        self.check(x)
        learned = isinstance(self.family.log_scale, nn.Parameter)
        if len(x) < 2 or (learned and self.latent_dim >= self.data_dim):
            problem = f"{len(x)} images of {self.data_dim} pixels determine no sigma beside {self.latent_dim} latents"
            raise InvalidInput("latent_dim", self.latent_dim, problem, "give fewer latents, or more images")
        eigenvalues, eigenvectors = self.spectrum(x)
        variance = eigenvalues[self.latent_dim :].mean() if learned else self.scale.double().square()
        if learned and not variance > (1e-3 * self.family.unit) ** 2:
            problem = "the images lie in a subspace of so many dimensions"
            raise InvalidInput("latent_dim", self.latent_dim, problem, "give fewer latents")
        stretch = (eigenvalues[: self.latent_dim] - variance).clamp(min=0).sqrt()
        unit = self.family.unit
        self.decoder.weight.copy_(eigenvectors[:, : self.latent_dim] * stretch / unit)
        self.decoder.bias.copy_(x.double().mean(0) / unit)
        if learned:
            self.family.log_scale.copy_((variance.sqrt() / unit).log())
        return self

    @staticmethod
    def spectrum(x: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalues (D,) of the images' covariance (over N), falling, and eigenvectors (D, D) in its columns."""
        centred = x.double() - x.double().mean(0)
        eigenvalues, eigenvectors = torch.linalg.eigh(centred.T @ centred / len(x))
        return eigenvalues.flip(0), eigenvectors.flip(1)
