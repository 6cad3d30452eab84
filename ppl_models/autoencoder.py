"""The deterministic autoencoder: the baseline that reconstructs well and assigns no probability to anything.

``Autoencoder`` is the net. ``NotADensity`` wraps it where a program is expected: it takes part in a comparison, and
every question about probability is answered by the reason why there is none. What a density fitted to its codes makes
of it is ``ppl_models.programs.AutoencoderDensity``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor, nn

from .distributions import at_least_float32, to_unit
from .errors import InvalidInput, NotADensityError, nearest
from .nets import ConvDecoder, make_encoder, mlp
from .program import check_images

REASON = (
    "the deterministic autoencoder defines no distribution over x: exp(-reconstruction error) does not sum to one over "
    "images, and its codes have no prior to draw from; compare its reconstructions, or fit a density to its codes "
    "(recipe autoencoder_gmm, fit_code_density)"
)
ARCHITECTURES = ("mlp", "conv")
NOISES = ("auto", "masking", "flip", "gaussian")


class Autoencoder(nn.Module):
    """x -> code -> reconstruction (Rumelhart, Hinton & Williams 1986; Hinton & Salakhutdinov 2006).

    With ``corruption`` it is the denoising autoencoder (Vincent et al. 2008; 2010, JMLR 11): in training mode, and only
    there, ``forward`` encodes a corrupted copy of x, and the reconstruction is still compared with x itself. ``encode``
    never corrupts: the code of an image is a function of the image.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of the code.
        hidden: widths of the encoder's hidden layers, or for ``"conv"`` channels of its stages, each of which halves
            the image, for example 32, 64; the decoder mirrors them.
        nonlinearity: name of the activation.
        levels: number of values of a pixel; images are scaled to [0, 1]. 0 for real-valued ones, which are taken as
            they are and reconstructed without a sigmoid.
        architecture: ``"mlp"`` or ``"conv"``.
        shape: (C, H, W), which ``"conv"`` needs.
        corruption: strength of the noise: the probability with which a pixel is hit, or the standard deviation of
            ``"gaussian"`` noise on the scale [0, 1] (for real values on their own). 0 for none.
        noise: ``"masking"`` sets the pixels that are hit to 0, ``"flip"`` mirrors them on the scale (v becomes
            levels - 1 - v), ``"gaussian"`` is added to all; ``"auto"`` masks binary pixels and adds to others.

    Raises:
        InvalidInput: for an unknown architecture or noise, a shape that is missing or holds another number of pixels,
            one level, a corruption that is negative or no probability, flips of real values.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        levels: int = 2,
        architecture: str = "mlp",
        shape: Sequence[int] | None = None,
        corruption: float = 0.0,
        noise: str = "auto",
    ) -> None:
        super().__init__()
        _check_architecture(data_dim, latent_dim, levels, architecture, shape)
        self.data_dim, self.latent_dim, self.levels = int(data_dim), int(latent_dim), int(levels)
        self.noise = _noise_of(levels, noise, corruption)
        self.corruption = float(corruption)
        self.encoder = make_encoder(architecture, data_dim, hidden, latent_dim, nonlinearity, shape)
        if architecture == "conv":
            self.decoder: nn.Module = ConvDecoder(latent_dim, shape, hidden, 1, nonlinearity)
        else:
            self.decoder = mlp(latent_dim, tuple(reversed(hidden)), data_dim, nonlinearity)

    def encode(self, x: Tensor) -> Tensor:
        """The code of each image, of x as it is: (..., D) -> (..., L)."""
        return self.encoder(to_unit(x, self.levels))

    def decode(self, code: Tensor) -> Tensor:
        """Images from codes, on the scale of x: (..., L) -> (..., D)."""
        outputs = self.decoder(code)
        return torch.sigmoid(outputs) * (self.levels - 1) if self.levels else outputs

    def corrupt(self, x: Tensor) -> Tensor:
        """A corrupted copy of x in training mode, x itself in evaluation: (..., D) -> (..., D)."""
        if not (self.training and self.corruption):
            return x
        if self.noise == "gaussian":
            return x + self.corruption * max(self.levels - 1, 1) * torch.randn_like(x)
        hit = torch.rand_like(x) < self.corruption
        return torch.where(hit, torch.zeros_like(x) if self.noise == "masking" else self.levels - 1 - x, x)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x, in training mode from a corrupted copy: (..., D) -> (..., D)."""
        return self.decode(self.encode(self.corrupt(x)))

    def squared_error(self, x: Tensor) -> Tensor:
        """|x - reconstruction|^2 summed over pixels, on the scale [0, 1] (real values on their own), x being the clean
        image: (..., D) -> (...). Not nats, not a likelihood."""
        return to_unit(at_least_float32(x - self(x)), self.levels).square().sum(-1)


def _check_architecture(
    data_dim: int, latent_dim: int, levels: int, architecture: str, shape: Sequence[int] | None
) -> None:
    if latent_dim < 1:
        raise InvalidInput("latent_dim", latent_dim, "a code has at least one number", "give at least 1")
    if levels < 0 or levels == 1:
        raise InvalidInput("levels", levels, "a pixel takes at least two values", "give 0 for real-valued pixels")
    if architecture not in ARCHITECTURES:
        raise InvalidInput("architecture", architecture, "unknown", nearest(str(architecture), ARCHITECTURES))
    if architecture == "conv" and shape is not None and math.prod(shape) != data_dim:
        raise InvalidInput("shape", tuple(shape), f"holds not the {data_dim} pixels of an image", "give (C, H, W)")


def _noise_of(levels: int, noise: str, corruption: float) -> str:
    """The kind of noise, if it and its strength suit the pixels."""
    if noise not in NOISES:
        raise InvalidInput("noise", noise, "unknown", nearest(str(noise), NOISES))
    if noise == "auto":
        noise = "masking" if levels == 2 else "gaussian"
    if noise == "flip" and not levels:
        raise InvalidInput("noise", noise, "real values have no range to be mirrored in", "use gaussian or masking")
    if not 0 <= corruption < math.inf:
        raise InvalidInput("corruption", corruption, "is no strength of a noise", "give 0 for none, or for example 0.2")
    if noise != "gaussian" and corruption > 1:
        problem = f"is the probability with which {noise} hits a pixel"
        raise InvalidInput("corruption", corruption, problem, "give a number in [0, 1]")
    return noise


class NotADensity(nn.Module):
    """An autoencoder where a program is expected: it reconstructs, and refuses every likelihood with the reason.

    Args:
        autoencoder: the deterministic net.
    """

    latents: tuple[str, ...] = ()

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.data_dim, self.levels = autoencoder.data_dim, autoencoder.levels

    def check(self, x: Tensor) -> None:
        """Raise ``InvalidInput`` unless x (N, D) holds images of the right size and levels."""
        check_images(x, self.data_dim, self.levels, "mass" if self.levels else "density")

    def refuse(self, question: str) -> NoReturn:
        """Raise ``NotADensityError`` with the reason why ``question`` has no answer here."""
        raise NotADensityError(f"{question}: {REASON}")

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> NoReturn:
        """No generative story: raises ``NotADensityError``."""
        self.refuse("a call as a Pyro model")

    def log_prob(self, x: Tensor) -> NoReturn:
        """No likelihood: raises ``NotADensityError``."""
        self.refuse("log_prob")

    def reconstruct(self, x: Tensor) -> Tensor:
        """The reconstruction of each image, on the scale of x: (N, D) -> (N, D)."""
        return self.autoencoder(x)

    def pseudo_log_prob(self, x: Tensor, sigma: float) -> Tensor:
        """NOT a likelihood: -|x - x̂(x)|^2 / (2 sigma^2) - D/2 log(2 pi sigma^2), (N, D) -> (N,).

        This is what is meant where papers read a squared error as a Gaussian log-likelihood. Summed (or integrated)
        over x its exponential is not 1, and sigma, which nothing fixes, moves it at will. It exists to show exactly
        that.

        Raises:
            InvalidInput: for sigma <= 0.
        """
        if not sigma > 0:
            raise InvalidInput("sigma", sigma, "a scale is positive", "give for example 0.5")
        squared_error = (x - self.reconstruct(x)).square().sum(-1)
        return -squared_error / (2 * sigma**2) - self.data_dim / 2 * math.log(2 * math.pi * sigma**2)
