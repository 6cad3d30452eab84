"""A variational autoencoder with several stochastic layers (Sonderby et al. 2016, 1602.02282)."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32, pixel_family, to_scale
from ..errors import InvalidInput
from ..nets import mlp
from ..nets.mlp import check_widths
from ..program import GenerativeProgram


class LadderVAE(GenerativeProgram):
    """p(x, z_1, ..., z_n) = p(z_n) prod_{i<n} p(z_i | z_{i+1}) p(x | z_1): latents above latents, drawn from the top.

    z_n ~ N(0, I), z_i | z_{i+1} ~ N(mu_i, diag sigma_i^2) and the pixels' parameters come from one perceptron each. The
    sites are ``"z1"`` (next to the image) to ``"zn"`` (the top). ``LadderNormal`` is the guide that shares this
    top-down path, as the paper's does.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: lengths of z_1, ..., z_n.
        hidden: width of the hidden layers next to each latent vector, from the bottom up; as many as there are.
        nonlinearity: name of the activation.
        levels: number of values of a pixel.
        likelihood: the family of one pixel, see ``pixel_family``.

    Raises:
        InvalidInput: for fewer than one latent vector, lengths below 1, or not one width for each.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: Sequence[int] = (16, 8),
        hidden: Sequence[int] = (200, 100),
        nonlinearity: str = "tanh",
        levels: int = 2,
        likelihood: str = "auto",
    ) -> None:
        super().__init__(data_dim, levels=levels)
        self.latent_dim, hidden = check_ladder(latent_dim, hidden)
        self.family = pixel_family(levels, likelihood)
        self.measure = self.family.measure
        self.latents = tuple(f"z{number}" for number in range(1, len(self.latent_dim) + 1))
        lower, upper = self.latent_dim[:-1], self.latent_dim[1:]
        self.conditionals = nn.ModuleList(
            mlp(above, (width,), 2 * own, nonlinearity)
            for own, above, width in zip(lower, upper, hidden[1:], strict=True)
        )
        self.decoder = mlp(self.latent_dim[0], (hidden[0],) * 2, data_dim * self.family.num_parameters, nonlinearity)

    def conditional(self, number: int, above: Tensor | None) -> TorchDistribution:
        """p(z_i | z_{i+1}) for i = ``number`` + 1, the top's N(0, I) where ``above`` is None: event shape (L_i,)."""
        if above is None:
            zero = torch.zeros(self.latent_dim[-1]).to(self.decoder[0].weight)
            return dist.Normal(at_least_float32(zero), torch.ones_like(at_least_float32(zero))).to_event(1)
        loc, raw = at_least_float32(self.conditionals[number](above)).chunk(2, -1)
        return dist.Normal(loc, to_scale(raw)).to_event(1)

    def likelihood(self, z: Tensor) -> TorchDistribution:
        """p(x | z_1): z (..., L_1) -> batch shape (...), event shape (D,)."""
        return self.family.image_distribution(self.decoder(z).unflatten(-1, (self.data_dim, -1)))

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """The latents from the top down, then x, in plate ``"image"``."""
        with self.plate(x, size):
            z = None
            for number in reversed(range(len(self.latents))):
                z = pyro.sample(self.latents[number], self.conditional(number, z))
            return self.observe(self.likelihood(z), x, size)


def check_ladder(latent_dim: Sequence[int], hidden: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Lengths of the latent vectors and widths beside them.

    Raises:
        InvalidInput: for fewer than one latent vector, lengths or widths below 1, or not one width for each.
    """
    if isinstance(latent_dim, int):
        latent_dim = (latent_dim,)
    latent_dim, hidden = check_widths("latent_dim", latent_dim), check_widths("hidden", hidden)
    if not latent_dim:
        raise InvalidInput("latent_dim", [], "a ladder has latents", "write for example [16, 8]")
    if len(hidden) != len(latent_dim):
        problem = f"there are {len(latent_dim)} latent vectors, and each has a width of its own"
        raise InvalidInput("hidden", list(hidden), problem, "give as many widths")
    return latent_dim, hidden
