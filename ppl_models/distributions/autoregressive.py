"""The autoregressive distribution p(x) = prod_t p(x_t | x_<t): exact to score in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pyro
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from tqdm import tqdm

from ..errors import InvalidInput, nearest
from ..nets import AutoregressiveNet, Cache, evaluating
from ..ordering import Ordering
from .pixels import PixelFamily
from .samplers import SAMPLERS, Net, Task

MAX_UNROLLED_SITES = 4096
# Numbers held at once by a pass without gradients (64 M, 256 MB in float32): more images are scored in turns.
MAX_PASS = 2**26
NO_SHAPE = torch.Size()


class Autoregressive(TorchDistribution):
    """p(x) = prod_t p(x_t | x_<t) over images of D pixels, in nats.

    One net gives the parameters of all D conditionals at once. It must be autoregressive in the ordering: the
    parameters of pixel i may depend on pixel j only if j is generated before i. ``tests`` hold every shipped net to
    that.

    Args:
        net: (..., D) -> (..., D, P), the parameters of each pixel's conditional. An ``AutoregressiveNet`` brings its
            own ``frozen``, ``cache``, memory footprint and rule for ``"auto"``; a plain function will do.
        family: the distribution of a pixel given its P parameters.
        ordering: the order of generation.
        context_shape: batch shape of a net that is conditioned (on latents, say); empty otherwise.
        like: a tensor whose dtype and device the draws take.
        frozen: gives a faster double of the net for many evaluations in a row, which the fixed-point sampler uses; the
            sequential sampler stays the plain reference.
        cache: gives an empty ``Cache`` for rows of a leading shape ``(..., *context_shape)``.
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
        cache: Callable[[torch.Size], Cache] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.net, self.family, self.ordering = net, family, ordering
        self.context_shape = torch.Size(context_shape)
        self.like = torch.empty(()) if like is None else like
        if isinstance(net, AutoregressiveNet):
            frozen = frozen or net.frozen
            if cache is None and type(net).cache is not AutoregressiveNet.cache:
                cache = lambda shape: net.cache(shape.numel())  # noqa: E731
        self.frozen, self.cache = frozen or (lambda: net), cache
        super().__init__(self.context_shape, torch.Size((len(ordering),)), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Images whose every pixel lies in 0..levels-1."""
        return constraints.independent(self.family.support, 1)

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> Autoregressive:
        """The same density with a larger batch shape; the net is not evaluated more often for it."""
        new = self._get_checked_instance(Autoregressive, _instance)
        new.net, new.family, new.ordering = self.net, self.family, self.ordering
        new.context_shape, new.like = self.context_shape, self.like
        new.frozen, new.cache = self.frozen, self.cache
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
        rows = self._rows_per_pass()
        if torch.is_grad_enabled() or self.context_shape or shape.numel() <= rows:
            log_prob = self.family.log_prob(self.net(x), x).sum(-1)
        else:
            parts = x.reshape(-1, x.shape[-1]).split(rows)
            log_prob = torch.cat([self.family.log_prob(self.net(part), part).sum(-1) for part in parts]).view(shape)
        return log_prob.expand(torch.broadcast_shapes(shape, self.batch_shape))

    def _rows_per_pass(self) -> int:
        """How many images a pass without gradients takes at once."""
        footprint = self.net.footprint() if isinstance(self.net, AutoregressiveNet) else len(self.ordering)
        return max(1, MAX_PASS // footprint)

    @torch.no_grad()
    def sample(
        self,
        sample_shape: torch.Size = NO_SHAPE,
        *,
        method: str = "auto",
        noise: Tensor | None = None,
        block: int | None = None,
        batch: int | None = None,
        progress: bool = False,
    ) -> Tensor:
        """Images drawn from p(x), shape ``sample_shape + batch_shape + (D,)``.

        The net is evaluated without dropout and under its saved masks, in training mode too: dropout is noise that no
        sampler can repeat.

        Args:
            sample_shape: leading shape of independent draws.
            method: ``"sequential"`` (one pass per pixel), ``"fixed-point"`` (passes until nothing changes),
                ``"cached"`` (one cheap step per pixel, where the net has a cache), or ``"auto"``, see ``sampler``.
            noise: uniforms of the shape of the result. Every method draws them first and turns them into pixels by the
                inverse distribution function, so the same noise gives the same images.
            block: steps per block of the fixed point; ``None`` iterates over the whole image, or with ``"auto"`` takes
                what the net's rule says.
            batch: most images drawn at a time, a bound on memory; the images do not depend on it. A conditioned net
                draws all at once.
            progress: show a bar.

        Raises:
            InvalidInput: for an unknown method, ``cached`` for a net without a cache, a block or batch below 1, a block
                for a sampler without blocks, or noise of another shape.
        """
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        for argument, value in (("block", block), ("batch", batch)):
            if value is not None and value < 1:
                raise InvalidInput(argument, value, "must be at least 1", "give a count, or leave it out")
        if noise is None:
            noise = torch.rand(shape, dtype=self.like.dtype, device=self.like.device)
        elif noise.shape != shape:
            raise InvalidInput("noise", tuple(noise.shape), f"the draw has shape {tuple(shape)}", "give that shape")
        noise = noise.to(self.like)
        if not noise.numel():
            return noise
        if batch is None or self.context_shape:
            parts = [noise]
        else:
            parts = list(noise.reshape(-1, shape[-1]).split(batch))
        rows = parts[0][..., 0].numel()
        name = self.sampler(method, rows=rows)
        if method == "auto" and block is None:
            block = self._rule(rows)[1]
        if block is not None and name != "fixed-point":
            raise InvalidInput("block", block, f"the {name} sampler has no blocks", 'write method="fixed-point"')
        draw = SAMPLERS[name]
        with (
            evaluating(self.net),
            tqdm(total=len(parts) * len(self.ordering), disable=not progress, unit="step", leave=False) as bar,
        ):
            drawn = [draw(self._task(part, block, bar.update)) for part in parts]
        return (drawn[0] if len(drawn) == 1 else torch.cat(drawn)).view(shape)

    def _task(self, noise: Tensor, block: int | None, tick: Callable[[int], None]) -> Task:
        """What a sampler is given; only a net without a context treats its rows alike."""
        by_rows = not self.context_shape
        return Task(self.net, self.family, self.ordering, noise, self.frozen, self.cache, by_rows, block, tick)

    def sampler(self, method: str = "auto", *, rows: int = 1) -> str:
        """The name of the sampler that ``sample(method=method)`` uses for so many images.

        ``"auto"`` follows the rule of the net (``AutoregressiveNet.sampler``): the cache, or for masked perceptrons the
        fixed point in blocks, which never needs more passes than the sequential sampler.

        Raises:
            InvalidInput: for an unknown one, or ``cached`` for a net without a cache.
        """
        if method == "auto":
            method = self._rule(rows)[0]
        if method not in SAMPLERS:
            raise InvalidInput("method", method, "unknown sampler", nearest(method, ["auto", *SAMPLERS]))
        if method == "cached" and self.cache is None:
            problem = f"{type(self.net).__name__} has no cache; fvsbn, nade, made, pixel_rnn, pixel_cnn, "
            problem += "gated_pixel_cnn and pixel_transformer have one"
            raise InvalidInput("method", method, problem, "use fixed-point")
        return method

    def _rule(self, rows: int) -> tuple[str, int | None]:
        """Sampler and block that ``"auto"`` means."""
        if isinstance(self.net, AutoregressiveNet):
            return self.net.sampler(rows, self.like.device)
        return ("fixed-point" if self.cache is None else "cached"), None

    def unrolled(self) -> Callable[..., Tensor]:
        """The same density as an explicit Pyro model: site ``x_i`` is pixel i, generated in the ordering.

        The model takes ``size``, the number of images, and returns x (size, D). Condition and intervene on its sites
        with ``poutine.condition`` and ``poutine.do``. It costs one pass of the net per pixel, in evaluation mode.

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
                    with evaluating(self.net):
                        conditional = self.family.distribution(self.net(x)[..., pixel, :])
                    value = pyro.sample(f"x_{pixel}", conditional).to(x)
                    shape = torch.broadcast_shapes(value.shape, x.shape[:-1])
                    column = torch.tensor([pixel], device=x.device)
                    x = x.expand(*shape, -1).index_copy(-1, column, value.expand(shape).unsqueeze(-1))
            return x

        return model
