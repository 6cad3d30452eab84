"""The guide whose means are normalized over the batch, so that the posterior cannot collapse on average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..distributions import at_least_float32
from ..errors import InvalidInput
from .delta_normal import CommittedRate
from .diagonal_normal import DiagonalNormal

# The variance of the means over the images is taken to be at least this.
SMALLEST_VARIANCE = 1e-10


class FixedScaleBatchNorm(nn.Module):
    """gamma (h - mean) / std + beta over the images of a batch, gamma fixed and beta learnable.

    In training, mean and std are the batch's own, and running ones follow them: a cumulative average of the first 1 /
    momentum batches, an exponential one from then on. They follow where gradients are on, so that a look at the guide
    without gradients leaves no trace. In evaluation, and for a batch of one image, which has no variance, the running
    ones are used.

    Args:
        size: L.
        gamma: the fixed scale.
        momentum: weight of the newest batch in the running statistics.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, size: int, gamma: float, momentum: float) -> None:
        super().__init__()
        self.gamma, self.momentum = gamma, momentum
        self.shift = nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, h: Tensor) -> Tensor:
        """(..., L) -> the same, all leading dimensions being images."""
        mean, variance = self.mean, self.variance
        rows = h.flatten(0, -2) if h.ndim > 1 else h.unsqueeze(0)
        if self.training and len(rows) > 1:
            mean, variance = rows.mean(0), rows.var(0, unbiased=False)
            if torch.is_grad_enabled():
                self._follow(mean.detach(), rows.detach().var(0))
        return self.gamma * (h - mean) / variance.clamp(min=SMALLEST_VARIANCE).sqrt() + self.shift

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.batches += 1
        weight = (1 / self.batches).clamp(min=self.momentum).to(self.mean)
        self.mean.lerp_(mean.to(self.mean), weight)
        self.variance.lerp_(variance.to(self.variance), weight)


class BatchNormMean(CommittedRate, DiagonalNormal):
    """q(z | x) = N(z; mu(x), diag sigma(x)^2) with batch-normalized means (Zhu et al. 2020, 2004.12585).

    mu_l = gamma (h_l - mean h_l) / std h_l + beta_l, over the images, with gamma fixed and beta learnable. One image
    may have no rate, but the mean over the images of KL(q(z | x) || N(0, I)) has a floor: since -log s + (s^2 - 1) / 2
    is never negative, it is at least

        sum_l E[mu_l^2] / 2 = sum_l (gamma^2 + beta_l^2) / 2 >= L gamma^2 / 2 nats,

    over each training batch of two images or more whose h_l have a variance of at least 1e-10. In evaluation mean and
    std are running ones, so that a posterior does not depend on the rest of the batch, and the floor holds as far as
    they are those of the images. A training batch of one image uses the running ones too. ``FixedScaleBatchNorm`` is
    exempt from the rule that there are no batch statistics, in training only.

    The normalization belongs to ``encode``: ``family`` is that of ``DiagonalNormal``.

    Args:
        data_dim, latent_dim, *shared, **options: as ``AmortizedGuide``.
        gamma: the standard deviation of each mean over the images.
        momentum: weight of the newest batch in the running statistics.

    Raises:
        InvalidInput: for gamma not above 0 or a momentum outside (0, 1]; in ``bind``, for a program whose prior is not
            N(0, I).
    """

    def __init__(
        self, data_dim: int, latent_dim: int, *shared: Any, gamma: float = 0.6, momentum: float = 0.1, **options: Any
    ) -> None:
        if not 0 < gamma < float("inf"):
            raise InvalidInput("gamma", gamma, "is no standard deviation", "give a number above 0, such as 0.6")
        if not 0 < momentum <= 1:
            raise InvalidInput("momentum", momentum, "is no weight of a batch", "give a number in (0, 1], such as 0.1")
        super().__init__(data_dim, latent_dim, *shared, **options)
        self.batch_norm = FixedScaleBatchNorm(latent_dim, float(gamma), float(momentum))

    def encode(self, x: Tensor) -> Tensor:
        """Normalized means, then unconstrained scales: (N, D) -> (N, 2L)."""
        loc, raw = at_least_float32(super().encode(x)).chunk(2, -1)
        return torch.cat([self.batch_norm(loc), raw], -1)
