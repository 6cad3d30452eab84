"""A mixture of autoregressive densities of the same pixels in different orders, or under different masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..errors import InvalidInput
from .autoregressive import NO_SHAPE, Autoregressive


class MixtureOfOrders(TorchDistribution):
    """p(x) = 1/K sum_k p_k(x), exact: log p(x) is the log-mean-exp of K complete log-probabilities.

    Averaging the conditionals (or their logits) of several orders instead gives no density at all.

    Args:
        components: K autoregressive distributions over the same D pixels, without contexts. May be made on demand: a
            sequence whose items are built when they are read.
        validate_args: check that x lies in the support when scoring.

    Shapes: batch shape (), event shape (D,).

    Raises:
        InvalidInput: without components.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(self, components: Sequence[Autoregressive], *, validate_args: bool | None = None) -> None:
        if not len(components):
            raise InvalidInput("components", 0, "a mixture has components", "give at least one")
        self.components = components
        super().__init__(NO_SHAPE, components[0].event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Images whose every pixel lies in 0..levels-1."""
        return self.components[0].support

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> MixtureOfOrders:
        """The same density with a larger batch shape."""
        new = self._get_checked_instance(MixtureOfOrders, _instance)
        new.components = self.components
        super(MixtureOfOrders, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) by K passes: x (..., D) -> (...), nats."""
        if self._validate_args:
            self._validate_sample(x)
        total = None
        for component in self.components:
            # Summed as they come: K need not fit in memory.
            log_prob = component.log_prob(x)
            total = log_prob if total is None else torch.logaddexp(total, log_prob)
        log_prob = total - math.log(len(self.components))
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = NO_SHAPE, *, noise: Tensor | None = None, **options: object) -> Tensor:
        """Images ``sample_shape + batch_shape + (D,)``: a component first, then its pixels.

        Args:
            sample_shape: leading shape of independent draws.
            noise: uniforms of the shape of the result. The entry of pixel 0 chooses the component too: of K times the
                uniform, the whole part is the component, and the fraction is the uniform of the pixel. Drawn in float64
                unless given, so that the fraction is fine enough.
            options: ``method``, ``block``, ``batch`` and ``progress`` of ``Autoregressive.sample``.

        Raises:
            InvalidInput: as ``Autoregressive.sample``.
        """
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        like = self.components[0].like
        if noise is None:
            noise = torch.rand(shape, dtype=torch.float64, device=like.device)
        elif noise.shape != shape:
            raise InvalidInput("noise", tuple(noise.shape), f"the draw has shape {tuple(shape)}", "give that shape")
        rows = noise.reshape(-1, shape[-1]).clone()
        chosen = (rows[:, 0] * len(self.components)).floor().clamp(max=len(self.components) - 1)
        rows[:, 0] = rows[:, 0] * len(self.components) - chosen
        x = torch.empty(rows.shape, dtype=like.dtype, device=like.device)
        for number in chosen.unique().long().tolist():
            mine = chosen == number
            x[mine] = self.components[number].sample(mine.sum()[None].tolist(), noise=rows[mine], **options)
        return x.view(shape)

    def sampler(self, method: str = "auto", *, rows: int = 1) -> str:
        """The name of the sampler that every component uses."""
        return self.components[0].sampler(method, rows=rows)

    def unrolled(self, component: int | None = None) -> Callable[..., Tensor]:
        """One component as an explicit Pyro model. The components generate in different orders, so that the mixture
        itself has no order to unroll in.

        Raises:
            InvalidInput: without a component.
        """
        if component is None or not 0 <= component < len(self.components):
            problem = "the components generate in different orders"
            raise InvalidInput("component", component, problem, f"unroll one of 0..{len(self.components) - 1}")
        return self.components[component].unrolled()
