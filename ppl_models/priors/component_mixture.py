"""A mixture whose components are of one family, scored without a tensor of all differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import at_least_float32
from ..errors import InvalidInput

NO_SHAPE = torch.Size()
# Numbers held at once in scoring (64 M, 256 MB in float32): more rows are scored in turns.
MAX_NUMBERS = 2**26
# Tensors (rows, K) that stand beside each other in the matrix form.
TENSORS_OF_MATRIX_FORM = 4


class ComponentMixture(TorchDistribution):
    """p(z) = sum_k w_k p_k(z), with w = softmax(logits) and all p_k of one family.

    Diagonal normal components are scored by matrix products,

        log p_k(z) = c_k + z . (mu_k / sigma_k^2) - 1/2 z^2 . (1 / sigma_k^2),

    in float64, because its large terms cancel: memory grows with M K for M rows, never with M K L. Other families score
    the M K pairs; without gradients in turns of 64 M numbers.

    Args:
        logits: (K,), log-weights up to a constant.
        family: numbers of components (n,) -> their distributions, batch shape (n,), event shape (L,).
        validate_args: check that z lies in the components' support when scoring (torch's default: yes).

    Shapes: batch shape (), event shape (L,). Draws have no gradient: the choice of a component has none.

    Raises:
        InvalidInput: for a family of another batch or event shape.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(
        self, logits: Tensor, family: Callable[[Tensor], TorchDistribution], *, validate_args: bool | None = None
    ) -> None:
        self.log_weights = torch.log_softmax(at_least_float32(logits), -1)
        self.family = family
        self.components = family(torch.arange(len(logits), device=logits.device))
        shapes = (tuple(self.components.batch_shape), tuple(self.components.event_shape))
        if shapes[0] != (len(logits),) or len(shapes[1]) != 1:
            problem = f"{len(logits)} components have batch shape {shapes[0]} and event shape {shapes[1]}"
            remedy = f"give ({len(logits)},) and (L,); .to_event(1) makes the last dimension one event"
            raise InvalidInput("family", type(self.components).__name__, problem, remedy)
        super().__init__(NO_SHAPE, self.components.event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """That of the components."""
        return self.components.support

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> ComponentMixture:
        """The same density with a larger batch shape; its components are not made again."""
        new = self._get_checked_instance(ComponentMixture, _instance)
        new.log_weights, new.family, new.components = self.log_weights, self.family, self.components
        super(ComponentMixture, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z): (..., L) -> (...), nats.

        Raises:
            ValueError: if z does not end in L latents or lies outside the support (with validation on).
        """
        if self._validate_args:
            self._validate_sample(z)
        shape, rows = z.shape[:-1], z.reshape(-1, z.shape[-1])
        score, numbers = (self._products, TENSORS_OF_MATRIX_FORM) if self.by_products else (self._pairs, z.shape[-1])
        size = max(1, MAX_NUMBERS // (len(self.log_weights) * numbers))
        parts = [(score(part) + self.log_weights).logsumexp(-1) for part in rows.split(size)]
        dtype = torch.promote_types(z.dtype, self.log_weights.dtype)
        log_prob = torch.cat(parts).to(dtype).view(shape)
        return log_prob.expand(torch.broadcast_shapes(shape, self.batch_shape))

    @property
    def by_products(self) -> bool:
        """Whether ``log_prob`` takes the matrix form: for diagonal normals, on a device that has float64."""
        independent = isinstance(self.components, torch.distributions.Independent)
        # By type and not by isinstance: a subclass may score in its own way.
        normal = independent and type(self.components.base_dist) in (dist.Normal, torch.distributions.Normal)
        return normal and self.log_weights.device.type != "mps"

    def _products(self, z: Tensor) -> Tensor:
        """log p_k(z) of diagonal normals: (M, L) -> (M, K), float64."""
        loc, scale = self.components.base_dist.loc.double(), self.components.base_dist.scale.double()
        z, precision = z.double(), scale**-2
        constant = -0.5 * (loc**2 * precision).sum(-1) - scale.log().sum(-1) - 0.5 * math.log(2 * math.pi) * z.shape[-1]
        return constant + z @ (loc * precision).T - 0.5 * (z**2 @ precision.T)

    def _pairs(self, z: Tensor) -> Tensor:
        """log p_k(z) of any family: (M, L) -> (M, K)."""
        # Spelled out: a family with nets inside need not broadcast.
        return self.components.log_prob(z.unsqueeze(1).expand(-1, len(self.log_weights), -1))

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = NO_SHAPE) -> Tensor:
        """Draws of shape ``sample_shape + batch_shape + (L,)``: a component each, then its latents."""
        shape = torch.Size(sample_shape) + self.batch_shape
        weights = self.log_weights.exp()
        chosen = torch.multinomial(weights, max(shape.numel(), 1), replacement=True)[: shape.numel()]
        return self.family(chosen).sample().view(shape + self.event_shape)
