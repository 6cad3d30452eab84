"""Codes of L bits as one event, which can be enumerated: what a discrete latent vector is drawn from."""

from __future__ import annotations

from typing import ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import register_kl
from torch.distributions.constraints import MixtureSameFamilyConstraint
from torch.nn import functional

from ..errors import InvalidInput

# Bits of a code whose 2^L values are still laid out in one tensor during training: 4096 of them.
MAX_BITS = 12
NO_SHAPE = torch.Size()


class BinaryCode(TorchDistribution):
    """L independent bits as one event: p(z) = prod_l sigmoid(logits_l)^{z_l} sigmoid(-logits_l)^{1 - z_l}.

    The values are floats 0 and 1. It is ``Bernoulli(logits).to_event(1)`` with the one thing that this lacks: its 2^L
    values can be enumerated, so that Pyro's ``TraceEnum_ELBO`` sums over them.

    Args:
        logits: (..., L), log-odds of a 1. Half precision is computed in float32.
        validate_args: check logits and values (torch's default: yes).

    Shapes: batch shape (...), event shape (L,). Draws have no gradient.

    Raises:
        InvalidInput: for logits without a last dimension of bits.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"logits": constraints.real_vector}
    support = constraints.independent(constraints.boolean, 1)
    has_enumerate_support = True
    has_rsample = False

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        if logits.ndim < 1 or not logits.shape[-1]:
            raise InvalidInput("logits", tuple(logits.shape), "a code has bits", "give a tensor (..., L) with L >= 1")
        self.logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> BinaryCode:
        """The same distribution with its logits broadcast to ``batch_shape``."""
        new = self._get_checked_instance(BinaryCode, _instance)
        new.logits = self.logits.expand(torch.Size(batch_shape) + self.event_shape)
        super(BinaryCode, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(z) in nats: z (..., L) -> (...), sum_l log sigmoid(+-logits_l); nothing in it cancels.

        Raises:
            ValueError: for values other than 0 and 1 (with validation on).
        """
        if self._validate_args:
            self._validate_sample(value)
        return functional.logsigmoid((2 * value.to(self.logits.dtype) - 1) * self.logits).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = NO_SHAPE) -> Tensor:
        """Codes as floats, shape ``sample_shape + batch_shape + (L,)``."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return torch.bernoulli(self.mean.expand(shape))

    @property
    def mean(self) -> Tensor:
        """Probabilities of a 1: (..., L)."""
        return torch.sigmoid(self.logits)

    @property
    def variance(self) -> Tensor:
        """p (1 - p) of each bit: (..., L)."""
        return torch.sigmoid(self.logits) * torch.sigmoid(-self.logits)

    def entropy(self) -> Tensor:
        """-sum_z p(z) log p(z) in nats: (...)."""
        one, zero = torch.sigmoid(self.logits), torch.sigmoid(-self.logits)
        return -(one * functional.logsigmoid(self.logits) + zero * functional.logsigmoid(-self.logits)).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All 2^L codes, the last bit changing fastest: (2^L, 1, ..., 1, L), or (2^L, *batch_shape, L) with ``expand``.

        Raises:
            InvalidInput: for more than 12 bits.
        """
        length = self.event_shape[0]
        if length > MAX_BITS:
            problem = f"has 2^{length} values, too many to enumerate"
            raise InvalidInput("BinaryCode", f"{length} bits", problem, f"take at most {MAX_BITS} bits, or sample")
        codes = all_codes(length).to(self.logits)
        codes = codes.view(-1, *(1 for _ in self.batch_shape), length)
        return codes.expand(-1, *self.batch_shape, -1) if expand else codes


@register_kl(BinaryCode, BinaryCode)
def kl_of_codes(p: BinaryCode, q: BinaryCode) -> Tensor:
    """KL(p || q) in nats, the sum over bits: (...)."""
    one = torch.sigmoid(p.logits) * (functional.logsigmoid(p.logits) - functional.logsigmoid(q.logits))
    zero = torch.sigmoid(-p.logits) * (functional.logsigmoid(-p.logits) - functional.logsigmoid(-q.logits))
    return (one + zero).sum(-1)


def all_codes(length: int, levels: int = 2) -> Tensor:
    """All vectors of ``length`` whole numbers 0..levels-1, the last entry changing fastest: (levels^length, length),
    int64."""
    place = levels ** torch.arange(length - 1, -1, -1)
    return torch.arange(levels**length).unsqueeze(-1) // place % levels


def free_levels(support: constraints.Constraint) -> int | None:
    """V, where a distribution's support is all vectors with entries 0..V-1 (2 for bits); else ``None``.

    Its values are then ``all_codes(L, V)``, whatever the distribution: a product, a mixture, an autoregressive one.
    """
    if isinstance(support, MixtureSameFamilyConstraint):
        support = support.base_constraint
    if not isinstance(support, constraints.independent) or support.event_dim != 1:
        return None
    entry = support.base_constraint
    if entry is constraints.boolean:
        return 2
    if isinstance(entry, constraints.integer_interval) and entry.lower_bound == 0:
        return int(entry.upper_bound) + 1
    return None


def is_one_hot(support: constraints.Constraint) -> bool:
    """Whether a distribution's support is the L unit vectors."""
    if isinstance(support, MixtureSameFamilyConstraint):
        support = support.base_constraint
    return support is constraints.one_hot
