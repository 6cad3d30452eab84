"""InfoVAE: the ELBO with the aggregate posterior held to the prior by a maximum mean discrepancy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.program import LatentProgram

from ..weights import traces
from .base import Objective, refuse_baseline, require_guide
from .elbo import check_choice, check_particles, check_weight, has_analytic_kl
from .terms import divergence, probe, require_reparameterized, total_log_prob

KERNELS = ("rbf", "imq")


class MmdRegularized(Objective):
    """-1/N sum_n (E_q[log p(x_n | z)] - (1 - alpha) KL(q(z | x_n) || p(z))) + (alpha + lambda - 1) MMD^2(q(z), p(z)).

    InfoVAE (Zhao et al. 2019, 1706.02262, eq. 6 with the discrepancy as its divergence): alpha > 0 gives back what the
    divergence takes of the mutual information of x and z, and lambda (``weight``) holds the aggregate posterior q(z) =
    E_x[q(z | x)] to the prior. alpha = 0 and lambda = 1 is the ELBO, alpha = 1 its MMD-VAE. The likelihood and the
    divergence are in nats, the squared discrepancy is a pure number between 0 and 2: the sum is no bound.

    MMD^2 = E k(z, z') + E k(y, y') - 2 E k(z, y) with independent z, z' ~ q(z) and y, y' ~ p(z) (Gretton et al. 2012).
    It is estimated without bias, and so may come out negative, from one draw of the guide per image and as many of the
    prior; K particles are K such estimates. With c = 2 L s^2, L the length of z and s the ``scale``, which for s = 1 is
    the mean of |z - z'|^2 under a standard normal, the kernel is k(z, y) = exp(-|z - y|^2 / c) or, with tails that
    reach farther, c / (c + |z - y|^2). A batch of one image has no pair and no such term.

    Args:
        program: with one latent vector; a prior with parameters is moved by the discrepancy too where its draws are
            reparameterized, and by the divergence alone where not.
        guide: reparameterized.
        alpha: at most 1.
        weight: lambda, at least 1 - alpha.
        kernel: ``"rbf"`` (Gaussian) or ``"imq"`` (inverse multiquadric).
        scale: s, the kernel's width in units of a standard normal's.
        num_particles: K, draws of the guide per image.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: without a guide; for several latents, a guide that is not reparameterized, an unknown kernel, a
            scale that is not positive, K < 1, or weights outside their ranges.
    """

    name = "mmd"

    def __init__(
        self,
        program: nn.Module,
        guide: nn.Module | None,
        alpha: float = 0.0,
        weight: float = 100.0,
        kernel: str = "rbf",
        scale: float = 1.0,
        num_particles: int = 1,
    ) -> None:
        check_particles(num_particles)
        check_choice("kernel", kernel, KERNELS)
        check_weight("weight", weight)
        if not -math.inf < alpha <= 1:
            raise InvalidInput("--objective.alpha", alpha, "pays for divergence", "give a number of at most 1")
        if alpha + weight < 1:
            problem = f"with alpha {alpha} would push the aggregate posterior away from the prior"
            raise InvalidInput("--objective.weight", weight, problem, f"give at least {1 - alpha}")
        if not 0 < scale < math.inf:
            raise InvalidInput("--objective.scale", scale, "is no width", "give a positive number")
        refuse_baseline(program, self.name)
        require_guide(guide, self.name)
        self._check_pair(program, guide)
        super().__init__(program, guide)
        self.alpha, self.weight, self.kernel, self.scale = float(alpha), float(weight), kernel, float(scale)
        self.num_particles, self.analytic = int(num_particles), has_analytic_kl(program, guide)

    def _check_pair(self, program: nn.Module, guide: nn.Module) -> None:
        if not isinstance(program, LatentProgram):
            problem = f"{type(program).__name__} has no single latent vector whose prior can be drawn from"
            raise InvalidInput("--objective", self.name, problem, "use elbo")
        require_reparameterized(guide, probe(program, guide)[1], "--objective", self.name, "use elbo")

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> ()."""
        model, guide = traces(self.program, self.guide, x, self.num_particles)
        kl = divergence(model.nodes["z"], guide.nodes["z"], analytic=self.analytic)
        loss = (1 - self.alpha) * kl.mean() - total_log_prob(model, observed=True).mean()
        if len(x) < 2:
            return loss
        z, prior = guide.nodes["z"]["value"], self.program.prior()
        shape = torch.Size(z.shape[:2])
        y = prior.rsample(shape) if prior.has_rsample else prior.sample(shape)
        discrepancy = squared_mmd(z, y, self.kernel, self.scale).mean()
        return loss + (self.alpha + self.weight - 1) * discrepancy


def squared_mmd(z: Tensor, y: Tensor, kernel: str = "rbf", scale: float = 1.0) -> Tensor:
    """The unbiased estimate of MMD^2 (Gretton et al. 2012, eq. 3) for each leading index.

    Args:
        z: draws of one distribution (..., N, L), N >= 2.
        y: of the other (..., M, L), M >= 2.
        kernel, scale: see ``MmdRegularized``.

    Returns:
        (...).
    """
    similar = {"rbf": lambda r: torch.exp(-r), "imq": lambda r: 1 / (1 + r)}[kernel]
    width = 2 * z.shape[-1] * scale**2

    def mean(a: Tensor, b: Tensor, pairs: int) -> Tensor:
        # By differences: a product of matrices would lose the small distances in half precision.
        return similar((a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1) / width).sum((-2, -1)) / pairs

    def within(a: Tensor) -> Tensor:
        count = a.shape[-2]
        return mean(a, a, count * (count - 1)) - 1 / (count - 1)  # without the pairs (i, i), where k = 1

    return within(z) + within(y) - 2 * mean(z, y, z.shape[-2] * y.shape[-2])
