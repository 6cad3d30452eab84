"""The deterministic autoencoder: the baseline that reconstructs well and assigns no probability to anything.

``Autoencoder`` is the net. ``NotADensity`` wraps it where a program is expected: it takes part in a comparison, and
every question about probability is answered by the reason why there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor, nn

from .errors import InvalidInput, NotADensityError
from .nets import mlp
from .program import check_images

REASON = (
    "the deterministic autoencoder defines no distribution over x: exp(-reconstruction error) does not sum to one over "
    "images, and its codes have no prior to draw from; compare its reconstructions, or fit a density to its codes"
)


class Autoencoder(nn.Module):
    """x -> code -> reconstruction, both perceptrons (Rumelhart, Hinton & Williams 1986; Hinton & Salakhutdinov 2006).

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of the code.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        nonlinearity: name of the activation.
        levels: number of values of a pixel; images are scaled to [0, 1].
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int = 16,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        levels: int = 2,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim, self.levels = int(data_dim), int(latent_dim), int(levels)
        self.encoder = mlp(data_dim, hidden, latent_dim, nonlinearity)
        self.decoder = mlp(latent_dim, tuple(reversed(hidden)), data_dim, nonlinearity)

    def encode(self, x: Tensor) -> Tensor:
        """The code of each image: (..., D) -> (..., L)."""
        return self.encoder(x / (self.levels - 1))

    def decode(self, code: Tensor) -> Tensor:
        """Images from codes, on the scale of x: (..., L) -> (..., D)."""
        return torch.sigmoid(self.decoder(code)) * (self.levels - 1)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x: (..., D) -> (..., D)."""
        return self.decode(self.encode(x))


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
        check_images(x, self.data_dim, self.levels)

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
