"""A normal guide whose covariance is turned by reflections: the Householder flow of Tomczak & Welling (2016)."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32, full_precision, to_scale
from ..errors import InvalidInput
from .amortized import AmortizedGuide
from .full_rank_normal import _Normal


class HouseholderNormal(AmortizedGuide):
    """q(z | x) = N(z; mu(x), H diag(sigma(x)^2) H^T), H = P_R ... P_1, P_k = I - 2 v_k v_k^T for unit v_k(x) (Tomczak &
    Welling 2016, 1611.09630).

    With R reflections an image costs (2 + R) L parameters, where a full covariance costs L (L + 3) / 2; L - 1
    reflections turn the axes into any others. An encoder that outputs zeros gives the standard normal.

    Args:
        data_dim, latent_dim, **options: as ``AmortizedGuide``.
        reflections: R.

    Raises:
        InvalidInput: for fewer than one reflection.
    """

    def __init__(self, data_dim: int, latent_dim: int, *shared: Any, reflections: int = 4, **options: Any) -> None:
        if not isinstance(reflections, int) or reflections < 1:
            raise InvalidInput("reflections", reflections, "nothing would turn", "give at least 1, or DiagonalNormal")
        self.reflections = reflections
        super().__init__(data_dim, latent_dim, *shared, **options)

    def num_parameters(self) -> int:
        """(2 + R) L: means, unconstrained scales, and the vectors' differences from the first axis."""
        return (2 + self.reflections) * self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """The normal with a triangular root of its covariance: (..., (2 + R) L) -> event shape (L,)."""
        parts = at_least_float32(parameters).unflatten(-1, (2 + self.reflections, self.latent_dim))
        loc, raw = parts[..., 0, :], parts[..., 1, :]
        with full_precision(loc):
            root = torch.diag_embed(to_scale(raw))  # of the transposed covariance's root, diag(sigma) H^T
            first = torch.eye(self.latent_dim, device=loc.device, dtype=loc.dtype)[0]
            for vector in parts[..., 2:, :].unbind(-2):
                v = nn.functional.normalize(vector + first, dim=-1)
                root = root - 2 * (root @ v[..., None]) * v[..., None, :]
            upper = torch.linalg.qr(root).R
            signs = upper.diagonal(dim1=-2, dim2=-1).sign()
            return _Normal(loc, scale_tril=(signs[..., None] * upper).mT)
