"""The ELBO of the linear program, integrated: no noise, so its stationary points can be found to the last digit."""

from __future__ import annotations

import math

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import Independent

from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide
from ppl_models.priors import StandardNormal
from ppl_models.programs import LinearVAE

from .base import Objective, refuse_baseline, require_guide
from .terms import probe


class LinearElbo(Objective):
    """-1/N sum_n ELBO(x_n) in nats for ``LinearVAE`` and a guide of independent normals, in closed form.

    With q(z | x) = N(m, diag s^2),

        ELBO(x) = -D/2 log(2 pi sigma^2) - (|x - W m - b|^2 + sum_l s_l^2 |w_l|^2) / (2 sigma^2)
                  - sum_l (m_l^2 + s_l^2 - 1 - log s_l^2) / 2

    (Lucas et al. 2019, 1911.02469, appendix C). It is what ``NegativeElbo`` has as its mean.

    Args:
        program, guide: the pair.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: for another program or prior, or a guide that is no diagonal normal.
    """

    name = "linear-elbo"

    def __init__(self, program: nn.Module, guide: nn.Module | None) -> None:
        refuse_baseline(program, self.name)
        require_guide(guide, self.name)
        if not isinstance(program, LinearVAE) or not isinstance(program.latent_prior, StandardNormal):
            problem = f"{type(program).__name__} has no ELBO in closed form"
            raise InvalidInput("--objective", self.name, problem, "use elbo, or the recipe linear_vae")
        posterior = probe(program, guide)[1].nodes["z"]["fn"] if isinstance(guide, Guide) else None
        if not (isinstance(posterior, Independent) and isinstance(posterior.base_dist, dist.Normal)):
            problem = f"the posterior of {type(guide).__name__} is no diagonal normal"
            raise InvalidInput("--objective", self.name, problem, "use --guide DiagonalNormal, or the objective elbo")
        super().__init__(program, guide)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> (), nats."""
        return -self.elbo(x).mean()

    def elbo(self, x: Tensor, posterior: Independent | None = None) -> Tensor:
        """The ELBO of each image, nats: (N, D) -> (N,); with ``posterior`` in place of the guide's, batch shape
        (N,)."""
        normal = (self.guide.posterior(x) if posterior is None else posterior).base_dist
        mean, variance = normal.loc, normal.scale.square()
        weight, noise = self.program.weight, self.program.scale.square()
        error = (x - mean @ weight.T - self.program.bias).square().sum(-1) + variance @ weight.square().sum(0)
        log_likelihood = -0.5 * (x.shape[-1] * (math.log(2 * math.pi) + noise.log()) + error / noise)
        divergence = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(-1)
        return log_likelihood - divergence
