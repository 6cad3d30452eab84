"""The guide of a ladder: bottom-up evidence meets the program's own top-down prediction (Sonderby et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32, to_scale, to_unit
from ..errors import InvalidInput
from ..nets import activation, mlp
from ..nets.mlp import check_widths
from ..program import GenerativeProgram
from .base import GuideProgram


class LadderNormal(GuideProgram):
    """q(z | x) = q(z_n | x) prod_{i<n} q(z_i | z_{i+1}, x), each a diagonal normal (1602.02282, eq. 16 to 19).

    A deterministic path d_i = f_i(d_{i-1}), d_0 = x, gives each layer a normal N(m_i, s_i^2). Below the top it is
    multiplied with the program's p(z_i | z_{i+1}) = N(mu_i, sigma_i^2): precisions add, sigma_q^-2 = s_i^-2 +
    sigma_i^-2, and the mean is weighted by them. What the layer above predicts, the image need not say again.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: lengths of z_1, ..., z_n, those of the program.
        hidden: width of each step of the deterministic path; as many as there are latents, or one for all.
        nonlinearity: name of the activation.
        levels: number of values of a pixel; images are scaled to [0, 1].

    Raises:
        InvalidInput: for one length where several are meant, lengths or widths below 1, or another number of widths.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: Sequence[int],
        hidden: Sequence[int] = (200,),
        nonlinearity: str = "tanh",
        levels: int = 2,
    ) -> None:
        super().__init__()
        latent_dim = (latent_dim,) if isinstance(latent_dim, int) else latent_dim
        self.data_dim, self.levels, self.latent_dim = int(data_dim), levels, check_widths("latent_dim", latent_dim)
        hidden = check_widths("hidden", hidden)
        hidden = hidden * len(self.latent_dim) if len(hidden) == 1 else hidden
        if len(hidden) != len(self.latent_dim):
            problem = f"there are {len(self.latent_dim)} latent vectors"
            raise InvalidInput("hidden", list(hidden), problem, "give one width, or as many")
        inputs = (data_dim, *hidden[:-1])
        self.up = nn.ModuleList(
            mlp(below, (width,), width, nonlinearity) for below, width in zip(inputs, hidden, strict=True)
        )
        self.read = nn.ModuleList(
            nn.Sequential(activation(nonlinearity), nn.Linear(width, 2 * own))
            for width, own in zip(hidden, self.latent_dim, strict=True)
        )

    def bind(self, program: GenerativeProgram) -> None:
        """Pair with a ladder.

        Raises:
            InvalidInput: for a program without ``conditional``, or with latents of other lengths.
        """
        kind = type(program).__name__
        if not callable(getattr(program, "conditional", None)):
            raise InvalidInput("guide", type(self).__name__, f"{kind} is no ladder", "pair it with LadderVAE")
        if tuple(program.latent_dim) != self.latent_dim:
            problem = f"the program's latents have lengths {list(program.latent_dim)}"
            raise InvalidInput("latent_dim", list(self.latent_dim), problem, "give the guide the same")
        super().bind(program)

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Sample ``"zn"`` to ``"z1"`` given x (N, D), in plate ``"image"``; returns z_1.

        Raises:
            InvalidInput: without images.
        """
        if x is None:
            raise InvalidInput("x", x, "a guide is conditioned on images", "call guide(x), or draw from the program")
        evidence = self.evidence(x)
        with pyro.plate("image", x.shape[-2]):
            z = None
            for number in reversed(range(len(self.latent_dim))):
                posterior = self.conditional(number, evidence[number], z)
                z = pyro.sample(self.program.latents[number], posterior)
            return z

    def evidence(self, x: Tensor) -> list[Tensor]:
        """What the image says of each layer, from the bottom up: (N, 2 L_i), means then unconstrained scales."""
        h, found = to_unit(x, self.levels), []
        for up, read in zip(self.up, self.read, strict=True):
            h = up(h)
            found.append(at_least_float32(read(h)))
        return found

    def conditional(self, number: int, evidence: Tensor, above: Tensor | None) -> TorchDistribution:
        """q(z_i | z_{i+1}, x) for i = ``number`` + 1: event shape (L_i,)."""
        loc, raw = evidence.chunk(2, -1)
        scale = to_scale(raw)
        if above is not None:
            prior = self.program.conditional(number, above).base_dist
            precision, prior_precision = scale.pow(-2), prior.scale.pow(-2)
            total = precision + prior_precision
            loc = (loc * precision + prior.loc * prior_precision) / total
            scale = total.rsqrt()
        return dist.Normal(loc, scale).to_event(1)
