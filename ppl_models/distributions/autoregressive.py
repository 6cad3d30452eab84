"""The autoregressive distribution p(x) = prod_t p(x_t | x_<t): exact to score in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pyro
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..errors import InvalidInput, nearest
from ..ordering import Ordering
from .pixels import PixelFamily
from .samplers import SAMPLERS, Net, fixed_point_rows

MAX_UNROLLED_SITES = 4096
NO_SHAPE = torch.Size()


class Autoregressive(TorchDistribution):
    """p(x) = prod_t p(x_t | x_<t) over images of D pixels, in nats.

    One net gives the parameters of all D conditionals at once. It must be autoregressive in the ordering: the
    parameters of pixel i may depend on pixel j only if j is generated before i. ``tests`` hold every shipped net to
    that.

    Args:
        net: (..., D) -> (..., D, P), the parameters of each pixel's conditional.
        family: the distribution of a pixel given its P parameters.
        ordering: the order of generation.
        context_shape: batch shape of a net that is conditioned (on latents, say); empty otherwise.
        like: a tensor whose dtype and device the draws take.
        frozen: gives a faster double of the net for many evaluations in a row, which the fixed-point sampler uses; the
            sequential sampler stays the plain reference.
        validate_args: check that x lies in the support when scoring (torch's default: yes).

    Shapes: batch shape ``context_shape``, event shape (D,).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(
        self,
        net: Net,
        family: PixelFamily,
        ordering: Ordering,
        *,
        context_shape: torch.Size = NO_SHAPE,
        like: Tensor | None = None,
        frozen: Callable[[], Net] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.net, self.family, self.ordering = net, family, ordering
        self.context_shape = torch.Size(context_shape)
        self.like = torch.empty(()) if like is None else like
        self.frozen = frozen
        super().__init__(self.context_shape, torch.Size((len(ordering),)), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Images whose every pixel lies in 0..levels-1."""
        return constraints.independent(self.family.support, 1)

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> Autoregressive:
        """The same density with a larger batch shape; the net is not evaluated more often for it."""
        new = self._get_checked_instance(Autoregressive, _instance)
        new.net, new.family, new.ordering = self.net, self.family, self.ordering
        new.context_shape, new.like, new.frozen = self.context_shape, self.like, self.frozen
        super(Autoregressive, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) by one pass of the net: x (..., D) -> (...), nats.

        Raises:
            ValueError: if x does not end in D pixels or lies outside the support (with validation on).
        """
        if self._validate_args:
            self._validate_sample(x)
        shape = torch.broadcast_shapes(x.shape[:-1], self.context_shape)
        x = x.expand(*shape, x.shape[-1])
        log_prob = self.family.log_prob(self.net(x), x).sum(-1)
        return log_prob.expand(torch.broadcast_shapes(shape, self.batch_shape))

    @torch.no_grad()
    def sample(
        self,
        sample_shape: torch.Size = NO_SHAPE,
        *,
        method: str = "auto",
        noise: Tensor | None = None,
    ) -> Tensor:
        """Images drawn from p(x), shape ``sample_shape + batch_shape + (D,)``.

        Draw in evaluation mode: dropout is noise that no sampler can repeat.

        Args:
            sample_shape: leading shape of independent draws.
            method: ``"sequential"`` (one pass per pixel), ``"fixed-point"`` (passes until nothing changes), or
                ``"auto"``, which is ``"fixed-point"``: it never needs more passes than the sequential sampler.
            noise: uniforms of the shape of the result. Every method draws them first and turns them into pixels by the
                inverse distribution function, so the same noise gives the same images.

        Raises:
            InvalidInput: for an unknown method or noise of another shape.
        """
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        if noise is None:
            noise = torch.rand(shape, dtype=self.like.dtype, device=self.like.device)
        elif noise.shape != shape:
            raise InvalidInput("noise", tuple(noise.shape), f"the draw has shape {tuple(shape)}", "give that shape")
        name = self.sampler(method)
        # Only a net without a context treats its rows alike, so that rows can leave the batch.
        by_rows = name == "fixed-point" and not self.context_shape
        draw = fixed_point_rows if by_rows else SAMPLERS[name]
        net = self.frozen() if name == "fixed-point" and self.frozen is not None else self.net
        return draw(net, self.family, self.ordering.sequence, noise)

    def sampler(self, method: str = "auto") -> str:
        """The name of the sampler that ``sample(method=method)`` uses.

        Raises:
            InvalidInput: for an unknown one.
        """
        name = "fixed-point" if method == "auto" else method
        if name not in SAMPLERS:
            raise InvalidInput("method", method, "unknown sampler", nearest(method, ["auto", *SAMPLERS]))
        return name

    def unrolled(self) -> Callable[..., Tensor]:
        """The same density as an explicit Pyro model: site ``x_i`` is pixel i, generated in the ordering.

        The model takes ``size``, the number of images, and returns x (size, D). Condition and intervene on its sites
        with ``poutine.condition`` and ``poutine.do``. It costs one pass of the net per pixel.

        Raises:
            InvalidInput: beyond 4096 pixels, or for a conditioned net.
        """
        sequence = self.ordering.sequence
        if len(sequence) > MAX_UNROLLED_SITES:
            raise InvalidInput(
                "unrolled",
                f"{len(sequence)} pixels",
                f"more than {MAX_UNROLLED_SITES} sites",
                "use the fused site x",
            )
        if self.context_shape:
            raise InvalidInput(
                "unrolled",
                tuple(self.context_shape),
                "the net is conditioned",
                "unroll one context",
            )

        def model(*, size: int = 1) -> Tensor:
            x = self.like.new_zeros(size, len(sequence))
            with pyro.plate("image", size):
                for pixel in sequence:
                    conditional = self.family.distribution(self.net(x)[..., pixel, :])
                    value = pyro.sample(f"x_{pixel}", conditional).to(x)
                    shape = torch.broadcast_shapes(value.shape, x.shape[:-1])
                    column = torch.tensor([pixel], device=x.device)
                    x = x.expand(*shape, -1).index_copy(-1, column, value.expand(shape).unsqueeze(-1))
            return x

        return model
