"""Independent black or white pixels as one distribution of images, scored with few passes over them."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional

from .precision import full_precision

# A product of 2^FOLDS = 4 probabilities, each at least sigmoid(FLOOR) = 2e-9, is a normal number even in float32.
FOLDS, FLOOR = 2, -20.0


def log_probabilities(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x_i) of each pixel: log sigmoid(logit) where x_i is 1, log sigmoid(-logit) where it is 0."""
    return -functional.softplus(logits * (1 - 2 * x.to(logits.dtype)))


def log_probability(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) = sum_i log p(x_i) in nats: logits (..., D), x (..., D) -> (...).

    Every image under every one of C decodes, as enumeration asks for, is scored by two matrix products instead of
    C N D logarithms. Elsewhere, and where no gradient is asked, the logarithms are taken of products of four
    probabilities instead of each: the bound of an image by 5000 particles is made of such sums, and beside a small
    decoder they cost a third of it, then a sixth.
    """
    crossed = log_probability_of_all_pairs(logits, x)
    if crossed is not None:
        return crossed
    folds = x.shape[-1] % 2**FOLDS == 0
    if not folds or torch.is_grad_enabled():
        return log_probabilities(logits, x).sum(-1)
    signed = logits * (2 * x.to(logits.dtype) - 1)
    if signed.numel() == 0 or signed.amin() < FLOOR:
        return functional.logsigmoid(signed).sum(-1)
    product = signed.sigmoid_()
    for _ in range(FOLDS):
        half = product.shape[-1] // 2
        product = product[..., :half].mul_(product[..., half:])
    return product.log_().sum(-1)


def log_probability_of_all_pairs(logits: Tensor, x: Tensor) -> Tensor | None:
    """log p(x_n | c) = sum_i x_ni log sigmoid(l_ci) + (1 - x_ni) log sigmoid(-l_ci), where logits l and images vary
    along different dims: logits such as (C, 1, D), x such as (N, D) -> (C, N).

    None where they share a dim, where there is nothing to cross (one image, or logits of one), and where a logit is not
    finite: a product of 0 and infinity would hide what each pixel says.
    """
    dims = max(logits.ndim, x.ndim) - 1
    rows, columns = ([1] * (dims + 1 - tensor.ndim) + list(tensor.shape[:-1]) for tensor in (logits, x))
    shared = any(row > 1 and column > 1 for row, column in zip(rows, columns, strict=True))
    if shared or min(math.prod(rows), math.prod(columns)) < 2 or logits.shape[-1] != x.shape[-1]:
        return None
    few, black = logits.flatten(end_dim=-2), x.flatten(end_dim=-2).to(logits.dtype)
    if not few.isfinite().all():
        return None
    with full_precision(logits):
        crossed = functional.logsigmoid(few) @ black.mT + functional.logsigmoid(-few) @ (1 - black).mT
    order = [place for dim in range(dims) for place in (dim, dims + dim)]
    sizes = [max(pair) for pair in zip(rows, columns, strict=True)]
    return crossed.view(rows + columns).permute(order).reshape(sizes)


class IndependentBernoulli(dist.Independent):
    """prod_i Bernoulli(x_i | logit_i) over the D pixels of an image: ``Bernoulli(logits).to_event(1)``, only faster.

    The logits are not looked through for a NaN: it makes log_prob NaN, which whoever reads a log-density must look for.

    Args:
        logits: (..., D).
        validate_args: whether values are checked to be 0 or 1; as Pyro's validation is set unless given.
    """

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(dist.Bernoulli(logits=logits, validate_args=False), 1)
        wanted = torch.distributions.Distribution._validate_args if validate_args is None else validate_args
        self._validate_args = wanted  # of the values from here on
        self._distinct = logits

    def expand(self, batch_shape: torch.Size, _instance: dist.Independent | None = None) -> IndependentBernoulli:
        """The same distribution with its logits broadcast to ``batch_shape``; it remembers what they were before."""
        logits = self.base_dist.logits
        made = IndependentBernoulli(logits.expand(torch.Size(batch_shape) + logits.shape[-1:]), self._validate_args)
        made._distinct = self._distinct
        return made

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) in nats: (..., D) -> (...)."""
        if self._validate_args:
            self._validate_sample(value)
        log_prob = log_probability(self._distinct, value)
        return log_prob.expand(torch.broadcast_shapes(self.batch_shape, log_prob.shape))
