"""Mixtures of discretized logistics over the grey levels of one pixel (Salimans et al. 2017, 1701.05517)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions.utils import lazy_property
from torch.nn import functional

from ..errors import InvalidInput

NO_SHAPE = torch.Size()
# The narrowest scale, as a part of a bin's width.
NARROWEST = 1 / 8
# Far below any ratio of bin to scale that matters, and far above what float32 rounds to zero.
TINY = 1e-30


class DiscretizedLogisticMixture(TorchDistribution):
    """K logistic densities, each integrated over the bins of the values 0..levels-1, and mixed.

    Values are put on [-1, 1]: v is the middle of the bin (e_{v-1}, e_v) with e_v = (2 v + 1) / (levels - 1) - 1. The
    bins of 0 and levels-1 reach to -infinity and +infinity, so that the masses sum to 1 exactly:

        p(v) = sum_k softmax(logits)_k [ sigmoid((e_v - means_k) / s_k) - sigmoid((e_{v-1} - means_k) / s_k) ]

    with s = exp(log_scales). The difference is computed as a product of three factors in logarithms, none of which
    cancels: log p(v) and its gradients are finite in the farthest tails (means up to 1e30 in float32).

    Args:
        logits: (..., K) of the components.
        means: (..., K) on the scale where the values span [-1, 1]; they may lie outside.
        log_scales: (..., K), on the same scale. Those below ``min_log_scale(levels)`` are raised to it, and have no
            gradient.
        levels: number of values.
        validate_args: check parameters and values (torch's default: yes).

    Shapes: batch shape (...), event shape (). Half precision is computed in float32.

    Raises:
        InvalidInput: for fewer than 2 levels.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.real_vector,
        "means": constraints.real_vector,
        "log_scales": constraints.real_vector,
    }
    has_enumerate_support = True

    def __init__(
        self, logits: Tensor, means: Tensor, log_scales: Tensor, levels: int, *, validate_args: bool | None = None
    ) -> None:
        if levels < 2:
            raise InvalidInput("levels", levels, "a pixel takes at least two values", "give 256 for 8-bit")
        logits, means, log_scales = torch.broadcast_tensors(logits, means, log_scales)
        dtype = torch.promote_types(torch.promote_types(logits.dtype, means.dtype), log_scales.dtype)
        dtype = torch.promote_types(dtype, torch.float32)
        self.levels, self.logits, self.means = int(levels), logits.to(dtype), means.to(dtype)
        self.log_scales = log_scales.to(dtype).clamp(min=min_log_scale(levels))
        super().__init__(logits.shape[:-1], NO_SHAPE, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """0..levels-1."""
        return constraints.integer_interval(0, self.levels - 1)

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> DiscretizedLogisticMixture:
        """The same distribution with its parameters broadcast to ``batch_shape``."""
        new = self._get_checked_instance(DiscretizedLogisticMixture, _instance)
        shape = torch.Size(batch_shape) + self.means.shape[-1:]
        new.levels = self.levels
        for name in self.arg_constraints:
            setattr(new, name, getattr(self, name).expand(shape))
        super(DiscretizedLogisticMixture, new).__init__(torch.Size(batch_shape), NO_SHAPE, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @lazy_property
    def weights(self) -> Tensor:
        """Probabilities of the components, (..., K)."""
        return torch.softmax(self.logits, -1)

    @lazy_property
    def inverse_scales(self) -> Tensor:
        """1 / s, (..., K)."""
        return torch.exp(-self.log_scales)

    def _standardized(self, value: Tensor) -> Tensor:
        """(e_v - means) / s, the upper edge of the bin of v: (...) -> (..., K)."""
        edge = (2 * value.to(self.means.dtype) + 1) / (self.levels - 1) - 1
        return (edge.unsqueeze(-1) - self.means) * self.inverse_scales

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(v) in nats: (...) -> (...).

        With b and a the standardized edges of the bin and d = b - a,
        sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(-d)); an edge at infinity leaves its factors out.

        Raises:
            ValueError: for a value outside the support (with validation on).
        """
        if self._validate_args:
            self._validate_sample(value)
        first, last = (value == 0).unsqueeze(-1), (value == self.levels - 1).unsqueeze(-1)
        below_upper = functional.logsigmoid(self._standardized(value)).masked_fill(last, 0)
        above_lower = functional.logsigmoid(-self._standardized(value - 1)).masked_fill(first, 0)
        between = self._log_between().masked_fill(first | last, 0)
        log_masses = below_upper + above_lower + between
        return torch.logsumexp(torch.log_softmax(self.logits, -1) + log_masses, -1)

    def _log_between(self) -> Tensor:
        """log(1 - exp(-d)), (..., K), from log d: right for scales so wide that d itself vanishes."""
        log_d = math.log(2 / (self.levels - 1)) - self.log_scales
        d = log_d.exp().clamp(min=TINY)
        return log_d + torch.log(-torch.expm1(-d) / d)

    def _below(self, value: Tensor) -> Tensor:
        """P(X <= v) for v < levels - 1: (...) -> (...)."""
        return (self.weights * torch.sigmoid(self._standardized(value))).sum(-1)

    def cdf(self, value: Tensor) -> Tensor:
        """P(X <= v): (...) -> (...), exactly 1 at the last value."""
        if self._validate_args:
            self._validate_sample(value)
        below = self._below(value)
        return torch.where(value == self.levels - 1, torch.ones_like(below), below)

    @torch.no_grad()
    def icdf(self, value: Tensor) -> Tensor:
        """The smallest v with P(X <= v) > u: uniforms (...) -> (...), by bisection: log2(levels) rounds, no table."""
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        low = self.means.new_zeros(shape)
        high = torch.full_like(low, self.levels - 1)
        for _ in range((self.levels - 1).bit_length()):
            middle = ((low + high) / 2).floor()
            passed = value >= self._below(middle)
            # The last value is never passed, whatever rounding made of its probability.
            low = torch.where(passed, torch.minimum(middle + 1, high), low)
            high = torch.where(passed, high, middle)
        return low

    def sample(self, sample_shape: torch.Size = NO_SHAPE) -> Tensor:
        """Values as floats, shape ``sample_shape + batch_shape``."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.icdf(torch.rand(shape, dtype=self.means.dtype, device=self.means.device))

    @property
    def mean(self) -> Tensor:
        """sum_v v p(v) = sum_{v < levels - 1} P(X > v), one value at a time to spare memory: (...)."""
        total = torch.zeros_like(self.means[..., 0])
        for value in range(self.levels - 1):
            above = torch.sigmoid(-self._standardized(torch.full_like(total, value)))
            total = total + (self.weights * above).sum(-1)
        return total

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values: (levels, 1, ..., 1), or (levels, *batch_shape) with ``expand``."""
        values = torch.arange(self.levels, dtype=self.means.dtype, device=self.means.device)
        values = values.view(-1, *(1 for _ in self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values


def min_log_scale(levels: int) -> float:
    """The least log scale: an eighth of a bin, -6.93 for 256 levels (Salimans et al. stop at -7).

    A component can then put at most tanh(2) = 96.4% of its mass into one inner bin, and as much as it likes into the
    bins at the two ends.
    """
    return math.log(2 / (levels - 1) * NARROWEST)
