"""The distribution of one pixel given its parameters: the part that every program shares.

A pixel family maps P real parameters to a distribution over the values 0..levels-1 that sums to 1 over them. It can
score (in one pass over a whole image), turn a uniform into a pixel by its inverse distribution function (so that every
sampler gives the same draw for the same noise), and hand out the same distribution as a Pyro object.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..errors import InvalidInput
from .black_and_white import IndependentBernoulli, log_probabilities
from .logistic import DiscretizedLogisticMixture
from .precision import at_least_float32

NO_SHAPE = torch.Size()
COMPONENTS = 5


def to_unit(x: Tensor, levels: int) -> Tensor:
    """Pixel values 0..levels-1 on [0, 1]; real-valued ones (``levels`` 0) as they are."""
    return x / (levels - 1) if levels > 1 else x


class PixelFamily(ABC):
    """A family of distributions over the values of one pixel, 0..levels-1.

    To add one, implement ``log_prob``, ``draw`` and ``distribution``; ``BernoulliPixels`` is the simplest to copy.

    Attributes:
        levels: number of values; 0 for real ones.
        num_parameters: P.
        measure: ``"mass"``, or ``"density"`` for real-valued pixels.
    """

    levels: int
    num_parameters: int
    measure: str = "mass"

    @property
    def support(self) -> constraints.Constraint:
        """The values one pixel can take."""
        return constraints.integer_interval(0, self.levels - 1)

    @abstractmethod
    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log p(x_i) in nats: parameters (..., D, P), x (..., D) -> (..., D), in float32 or better."""

    @abstractmethod
    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Pixels by the inverse distribution function: (..., P) and uniforms (...) -> (...)."""

    @abstractmethod
    def distribution(self, parameters: Tensor) -> TorchDistribution:
        """The same as a Pyro distribution: (..., P) -> batch shape (...), event shape ()."""

    def image_distribution(self, parameters: Tensor) -> TorchDistribution:
        """Independent pixels as one distribution of images: (..., D, P) -> batch shape (...), event shape (D,)."""
        return self.distribution(parameters).to_event(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected pixel value: (..., P) -> (...)."""
        return self.distribution(parameters).mean


class BernoulliPixels(PixelFamily):
    """Black or white: p(x=1) = sigmoid(logit)."""

    levels, num_parameters = 2, 1

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """x log p + (1 - x) log(1 - p), computed from the logit."""
        return log_probabilities(at_least_float32(parameters)[..., 0], x)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """1 where the uniform exceeds p(x=0), which is sigmoid(-logit)."""
        return (noise >= torch.sigmoid(-at_least_float32(parameters)[..., 0])).to(noise.dtype)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        """``Bernoulli(logits)``."""
        return dist.Bernoulli(logits=at_least_float32(parameters)[..., 0])

    def image_distribution(self, parameters: Tensor) -> TorchDistribution:
        """``IndependentBernoulli``: the pixels' log-probabilities are summed as they are computed."""
        return IndependentBernoulli(at_least_float32(parameters)[..., 0])


class GreyLevels(dist.Categorical):
    """``Categorical`` whose draws are floats, like every x of this project; the mean is the expected level."""

    @property
    def mean(self) -> Tensor:
        """sum_v v p(v)."""
        values = torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
        return (self.probs * values).sum(-1)

    def sample(self, sample_shape: torch.Size = NO_SHAPE) -> Tensor:
        """Levels as floats, shape ``sample_shape + batch_shape``."""
        return super().sample(sample_shape).to(self.logits.dtype)

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> TorchDistribution:
        """The same distribution with its parameters broadcast to ``batch_shape``."""
        shape = torch.Size(batch_shape) + self.logits.shape[-1:]
        return GreyLevels(logits=self.logits.expand(shape))


class CategoricalPixels(PixelFamily):
    """Any distribution over 0..levels-1: p(x=v) = softmax(parameters)_v."""

    def __init__(self, levels: int) -> None:
        self.levels = self.num_parameters = levels

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """The entry of the log-softmax that x names."""
        log_probs = torch.log_softmax(at_least_float32(parameters), -1)
        shape = torch.broadcast_shapes(log_probs.shape[:-1], x.shape)
        index = x.long().expand(shape).unsqueeze(-1)
        return log_probs.expand(*shape, -1).gather(-1, index).squeeze(-1)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """The number of levels whose cumulative probability the uniform has passed."""
        cumulative = torch.softmax(at_least_float32(parameters), -1).cumsum(-1)
        # The last cumulative sum is 1 up to rounding: it is left out, so that no uniform can fall beyond it.
        return (noise.unsqueeze(-1) >= cumulative[..., :-1]).sum(-1).to(noise.dtype)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        """``Categorical(logits)`` over floats."""
        return GreyLevels(logits=at_least_float32(parameters))


class LogisticPixels(PixelFamily):
    """A mixture of K logistic densities, integrated over the bins of the levels (Salimans et al. 2017, 1701.05517).

    3 K parameters serve all levels, however many, and neighbouring levels get neighbouring probabilities. They are K
    mixture logits, K means and K log scales. Parameters of zero give spread-out components: the means lie in the
    middles of K equal parts of [-1, 1], on which the levels are measured, and the scales are a quarter of a part,
    1 / (2 K), together nearly uniform. Without these offsets they would be K equal components with equal gradients.

    Args:
        levels: number of values of a pixel.
        components: K.

    Raises:
        InvalidInput: for fewer than 2 levels, or K < 1.
    """

    def __init__(self, levels: int, components: int = COMPONENTS) -> None:
        if levels < 2:
            raise InvalidInput("levels", levels, "a pixel takes at least two values", "give 256 for 8-bit")
        if components < 1:
            raise InvalidInput("components", components, "a mixture has components", "give K >= 1")
        self.levels, self.components, self.num_parameters = levels, components, 3 * components

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        """log of the mixture's mass in the bin of x, without a table of the levels."""
        return self._mixture(parameters, validate_args=False).log_prob(x)

    def draw(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """The smallest level whose cumulative probability exceeds the uniform, by bisection."""
        return self._mixture(parameters, validate_args=False).icdf(noise).to(noise.dtype)

    def distribution(self, parameters: Tensor) -> TorchDistribution:
        """``DiscretizedLogisticMixture``."""
        return self._mixture(parameters)

    def _mixture(self, parameters: Tensor, validate_args: bool | None = None) -> DiscretizedLogisticMixture:
        """(..., 3 K) -> batch shape (...)."""
        logits, means, log_scales = at_least_float32(parameters).chunk(3, -1)
        count = self.components
        middles = torch.linspace(1 / count - 1, 1 - 1 / count, count, dtype=means.dtype, device=means.device)
        log_scales = log_scales - math.log(2 * count)
        return DiscretizedLogisticMixture(logits, means + middles, log_scales, self.levels, validate_args=validate_args)
