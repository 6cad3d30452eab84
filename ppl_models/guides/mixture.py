"""The guide with several modes: a mixture of diagonal normals."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.nn import functional

from ..distributions import at_least_float32, full_precision, to_scale
from ..errors import InvalidInput
from .amortized import AmortizedGuide


class PathwiseMixture(dist.MixtureSameFamily):
    """A mixture of K diagonal normals whose draws carry gradients: ``MixtureSameFamily`` with ``rsample``.

    A draw is mu_k + sigma_k e with k ~ Categorical(pi). Given k its derivatives by mu and sigma are plain. k does not
    move with pi, but E[f(z)] does: dz / dlogits is the velocity that moves the density as the logits move it,

        dz / dlogits = -(du / dz)^-1 du / dlogits,    u_i = sum_k pi_k(z_<i) Phi((z_i - mu_ki) / sigma_ki),

    where u maps z to independent uniforms, pi_k(z_<i) are the weights given the earlier latents and du / dz is
    lower-triangular (implicit reparameterization, Figurnov et al. 2018, 1805.08498, section 4). Each is unbiased for
    its parameters. Mass moves between components through the valley between them, where velocities are high: far
    apart, the gradient of the logits is unbiased but noisy.

    Pyro's own ``MixtureOfDiagNormals`` is not used: for unequal scales its gradient of the logits is wrong (by as much
    as its size, against quadrature), it has none for one latent, and it cannot draw with leading sample dimensions.
    """

    has_rsample = True
    support = constraints.real_vector

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draws without gradient: (*sample_shape, *batch_shape, L)."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draws with gradient: (*sample_shape, *batch_shape, L)."""
        shape, logits = self._extended_shape(torch.Size(sample_shape)), self.mixture_distribution.logits
        loc, scale = self.component_distribution.base_dist.loc, self.component_distribution.base_dist.scale
        which = self.mixture_distribution.sample(torch.Size(sample_shape))
        index = which[..., None, None].expand(*shape[:-1], 1, shape[-1])
        own_loc, own_scale = (t.expand(*shape[:-1], *t.shape[-2:]).gather(-2, index).squeeze(-2) for t in (loc, scale))
        z = own_loc + own_scale * torch.randn_like(own_loc)
        if not (torch.is_grad_enabled() and logits.requires_grad):
            return z
        with full_precision(z):
            return z + path_of_logits(z.detach(), logits, loc.detach(), scale.detach())


def normal_cdf(z: Tensor) -> Tensor:
    """Phi(z), exact relative to its size in the lower tail, where ``torch.special.ndtr`` is not."""
    return torch.erfc(z * -math.sqrt(0.5)) / 2


def path_of_logits(z: Tensor, logits: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Zeros whose derivative by the logits is dz / dlogits, see ``PathwiseMixture``.

    Args:
        z: draws (..., L).
        logits: (..., K), normalized.
        loc, scale: of the components, (..., K, L).
    """
    standard = (z.unsqueeze(-2) - loc) / scale
    log_density = -standard.square() / 2 - scale.log() - math.log(2 * math.pi) / 2
    before = functional.pad(log_density.cumsum(-1)[..., :-1], (1, 0))
    weights = torch.softmax(logits.unsqueeze(-1) + before, -2)  # (..., K, L): given the earlier latents
    fixed = weights.detach()
    # Above the median the distribution function less 1, the same for all components: it changes no derivative, and the
    # differences of numbers near 1 would be lost to rounding.
    below = (fixed * normal_cdf(standard)).sum(-2, keepdim=True) <= 0.5
    cumulative = torch.where(below, normal_cdf(standard), -normal_cdf(-standard))
    uniform = (weights * cumulative).sum(-2)
    # du_i / dz_j: the density of z_i given the earlier ones for j = i; for j < i the weights move with z_j.
    moved = fixed * (cumulative - uniform.detach().unsqueeze(-2))
    jacobian = torch.einsum("...ki,...kj->...ij", moved, -standard / scale).tril(-1)
    density = (fixed * log_density.exp()).sum(-2).clamp(min=torch.finfo(z.dtype).tiny)
    jacobian = jacobian / density.unsqueeze(-1) + torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    change = (uniform - uniform.detach()) / density
    return -torch.linalg.solve_triangular(jacobian, change.unsqueeze(-1), upper=False, unitriangular=True).squeeze(-1)


class Mixture(AmortizedGuide):
    """q(z | x) = sum_k pi_k(x) prod_l N(z_l; mu_kl(x), sigma_kl(x)^2), all from one encoder.

    Draws are reparameterized, see ``PathwiseMixture``. Its divergence from the prior has no closed form.

    Args:
        data_dim, latent_dim, *shared, **options: as ``AmortizedGuide``.
        components: K.

    Raises:
        InvalidInput: for fewer than 1 component.
    """

    def __init__(self, data_dim: int, latent_dim: int, *shared: Any, components: int = 5, **options: Any) -> None:
        if not isinstance(components, int) or components < 1:
            raise InvalidInput("components", components, "a mixture has components", "give at least 1")
        self.components = components
        super().__init__(data_dim, latent_dim, *shared, **options)

    def num_parameters(self) -> int:
        """K (1 + 2 L): logits, then means, then unconstrained scales, component by component."""
        return self.components * (1 + 2 * self.latent_dim)

    def family(self, parameters: Tensor) -> TorchDistribution:
        """The mixture with sigma = softplus(s + log(e - 1)) + 1e-5: (..., P) -> event shape (L,)."""
        count, parameters = self.components, at_least_float32(parameters)
        logits, *rest = parameters.split([count, count * self.latent_dim, count * self.latent_dim], -1)
        loc, raw = (t.unflatten(-1, (count, self.latent_dim)) for t in rest)
        return PathwiseMixture(dist.Categorical(logits=logits), dist.Normal(loc, to_scale(raw)).to_event(1))
