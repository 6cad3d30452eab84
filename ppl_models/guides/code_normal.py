"""The guide of a density made of an autoencoder: a normal distribution around the code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32, to_scale
from ..errors import InvalidInput, nearest
from ..nets import mlp
from ..program import GenerativeProgram
from .base import Guide

SCALES = ("image", "latent")
# Scales before training, where codes have a standard deviation of 1, and the raw number that ``to_scale`` makes it of.
FIRST_SCALE = 0.2
FIRST_RAW = math.log(math.expm1(FIRST_SCALE)) - math.log(math.e - 1)
# The last layer starts with weights this much smaller than usual: nearly equal scales, and every weight has a gradient.
FIRST_WEIGHTS = 0.1


class CodeNormal(Guide):
    """q(z | x) = N(z; code(x), diag sigma^2), the code being the program's own (``AutoencoderDensity``).

    The code is a point, which has no density; its scales say how far from it z still explains the image. They are all
    that the guide learns: the encoder belongs to the program, which the guide learns of by ``bind``, and is neither
    listed nor saved with the guide.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of the code.
        hidden: widths of the net that reads an image's scales off its code.
        nonlinearity: name of its activation.
        scales: ``"image"`` for scales of each image, ``"latent"`` for one per latent, the same for all images (then
            there is no net).

    Raises:
        InvalidInput: for unknown scales, a width below 1, or an unknown activation.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        hidden: Sequence[int] = (64,),
        nonlinearity: str = "tanh",
        scales: str = "image",
    ) -> None:
        super().__init__(data_dim, latent_dim)
        if scales not in SCALES:
            raise InvalidInput("scales", scales, "unknown", nearest(str(scales), SCALES))
        self.scales = scales
        if scales == "latent":
            self.raw_scale = nn.Parameter(torch.full((self.latent_dim,), FIRST_RAW))
            return
        self.net = mlp(self.latent_dim, hidden, self.latent_dim, nonlinearity)
        with torch.no_grad():
            self.net[-1].weight.mul_(FIRST_WEIGHTS)
            self.net[-1].bias.fill_(FIRST_RAW)

    def bind(self, program: GenerativeProgram) -> None:
        """Learn the program, whose codes are the means.

        Raises:
            InvalidInput: for a program without codes, or with codes of another length.
        """
        name = type(program).__name__
        if not callable(getattr(program, "code", None)):
            problem = f"is a distribution around a code, and {name} has none"
            raise InvalidInput("guide", "CodeNormal", problem, "use it with recipe autoencoder_gmm, or DiagonalNormal")
        if program.latent_dim != self.latent_dim:
            problem = f"has {self.latent_dim} latents, and the codes of {name} {program.latent_dim}"
            raise InvalidInput("guide", "CodeNormal", problem, "build both with the same latent_dim")
        super().bind(program)

    def encode(self, x: Tensor) -> Tensor:
        """Codes, then unconstrained scales: (N, D) -> (N, 2L)."""
        code = self.program.code(x)
        raw = self.net(code) if self.scales == "image" else self.raw_scale.expand(code.shape)
        return torch.cat([code, raw], -1)

    def family(self, parameters: Tensor) -> TorchDistribution:
        """N(code, diag sigma^2) with sigma = softplus(s + log(e - 1)) + 1e-5: (..., 2L) -> event shape (L,)."""
        loc, raw = at_least_float32(parameters).chunk(2, -1)
        return dist.Normal(loc, to_scale(raw)).to_event(1)

    def posterior(self, x: Tensor) -> TorchDistribution:
        """q(z | x): (N, D) -> batch shape (N,), event shape (L,)."""
        return self.family(self.encode(x))
