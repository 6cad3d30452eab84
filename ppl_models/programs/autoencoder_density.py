"""A density made of a deterministic autoencoder after the fact: a prior over its codes, a likelihood around what it
reconstructs (Ghosh et al. 2020, 1903.12436)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..autoencoder import Autoencoder
from ..distributions import at_least_float32
from ..errors import InvalidInput, nearest
from ..priors import Prior
from .decoder import PriorProgram

# What codes are divided by is at least this: a code that never moves is left where it is.
SMALLEST_SPREAD = 1e-4


class Calibration(nn.Module, ABC):
    """From the decoder's outputs r, one number per pixel, to the parameters of the family of a pixel.

    A net that was trained to reconstruct says what a pixel is, and not how sure that is. A calibration says it, with
    at most two parameters per pixel.
    """

    @abstractmethod
    def forward(self, outputs: Tensor) -> Tensor:
        """(..., D) -> (..., D, P)."""


class BernoulliCalibration(Calibration):
    """logit_i = exp(a_i) r_i + b_i: the decoder's logit with a temperature and an offset (Platt 1999; Guo et al. 2017,
    1706.04599), so that a decoder that is sure of every pixel becomes as sure as it is right."""

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__()
        self.log_slope = nn.Parameter(torch.zeros(data_dim))
        self.offset = nn.Parameter(torch.zeros(data_dim))

    def forward(self, outputs: Tensor) -> Tensor:
        """(..., D) -> (..., D, 1)."""
        return (self.log_slope.exp() * outputs + self.offset).unsqueeze(-1)


class LogisticCalibration(Calibration):
    """One discretized logistic around the reconstruction sigmoid(r_i), with a scale for each pixel: a mass over grey
    levels, so that the scale of a pixel that never changes may become as small as it likes."""

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((data_dim,), -1.0))

    def forward(self, outputs: Tensor) -> Tensor:
        """(..., D) -> (..., D, 3): of the only component its logit, its mean where levels span [-1, 1], its log
        scale."""
        mean = 2 * torch.sigmoid(outputs) - 1
        return torch.stack([torch.zeros_like(mean), mean, self.log_scale.expand(mean.shape)], -1)


class GaussianCalibration(Calibration):
    """The mean is the reconstruction; the one sigma of all pixels belongs to the family."""

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, outputs: Tensor) -> Tensor:
        """(..., D) -> (..., D, 1)."""
        return (torch.sigmoid(outputs) if self.levels else outputs).unsqueeze(-1)


# The name here -> (the name of the family of a pixel, its calibration).
LIKELIHOODS: dict[str, tuple[str, Callable[[int, int], Calibration]]] = {
    "bernoulli": ("bernoulli", BernoulliCalibration),
    "logistic": ("logistic:1", LogisticCalibration),
    "gaussian": ("gaussian", GaussianCalibration),
}


class AutoencoderDensity(PriorProgram):
    """p(x, z) = p(z) prod_i p(x_i | r(z)_i), z a standardized code and r the outputs of an autoencoder's decoder.

    The autoencoder alone is no density. This program adds what it lacks: a prior over codes, and a calibrated
    likelihood. Both integrate to one whatever the autoencoder does, so every bound on log p(x) is as honest as that of
    a VAE, of which this is one whose two nets were not trained by its bound.

    Codes have any location and scale, and priors start near N(0, I). So z = (code - center) / spread, with ``center``
    and ``spread`` buffers that ``standardize`` sets: constants of the program, under which p(x) is what it would be
    over codes.

    The prior is to be fitted to draws of q(z | x) = N(code(x), diag sigma^2) (``CodeNormal``), as the ELBO does, and
    not to codes as points: over points a mixture or flow may pile up any density on directions in which the codes do
    not vary, and is then far too narrow for the z that explain an image.

    Args:
        autoencoder: the trained net, or one that the objective ``code-density`` trains beside.
        prior: p(z) over standardized codes; standard normal unless given.
        likelihood: ``"bernoulli"`` (2 levels), ``"logistic"`` (one discretized logistic per pixel), ``"gaussian"`` (a
            density), or ``"auto"``: Gaussian for real values, Bernoulli for 2 levels, logistic for more.

    Raises:
        InvalidInput: for a likelihood that is unknown or does not suit the levels, or a prior over vectors of another
            length or over discrete codes.
    """

    center: Tensor
    spread: Tensor

    # The encoder has no part in p(x, z): the objective ``CodeDensity`` trains it.
    trained_elsewhere = ("autoencoder.encoder.",)

    def __init__(self, autoencoder: Autoencoder, prior: Prior | None = None, likelihood: str = "auto") -> None:
        data_dim, latent_dim, levels = autoencoder.data_dim, autoencoder.latent_dim, autoencoder.levels
        if likelihood == "auto":
            likelihood = "gaussian" if not levels else "bernoulli" if levels == 2 else "logistic"
        if likelihood not in LIKELIHOODS:
            problem = "is no family around a reconstruction, which is one number per pixel"
            raise InvalidInput("likelihood", likelihood, problem, nearest(str(likelihood), ["auto", *LIKELIHOODS]))
        if prior is not None and (prior.kind, prior.latent_dim) != ("continuous", latent_dim):
            problem = f"is over {prior.latent_dim} {prior.kind} latents, and a code is {latent_dim} real numbers"
            raise InvalidInput("prior", type(prior).__name__, problem, "give one over the codes")
        family, calibration = LIKELIHOODS[likelihood]
        super().__init__(data_dim, latent_dim, prior=prior, levels=levels, likelihood=family)
        self.autoencoder, self.calibration = autoencoder, calibration(data_dim, levels)
        self.register_buffer("center", torch.zeros(latent_dim))
        self.register_buffer("spread", torch.ones(latent_dim))

    def code(self, x: Tensor) -> Tensor:
        """The standardized code of each image, never of a corrupted one: (..., D) -> (..., L)."""
        return (at_least_float32(self.autoencoder.encode(x)) - self.center) / self.spread

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """p(x | z): z (..., L) -> batch shape (...), event shape (D,)."""
        outputs = at_least_float32(self.autoencoder.decoder(self.center + self.spread * z))
        return self.family.image_distribution(self.calibration(outputs))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The autoencoder's own reconstruction, on the scale of x: (N, D) -> (N, D)."""
        return self.autoencoder(x)

    @torch.no_grad()
    def standardize(self, codes: Tensor, kept: float = 0.0) -> None:
        """Take mean and standard deviation of the autoencoder's own codes (N, L) as ``center`` and ``spread``, with
        ``kept`` parts of the old mean and variance."""
        variance, mean = torch.var_mean(at_least_float32(codes), 0, correction=0)
        self.center.lerp_(mean, 1 - kept)
        self.spread.copy_(self.spread.square().lerp(variance, 1 - kept).sqrt().clamp(min=SMALLEST_SPREAD))
