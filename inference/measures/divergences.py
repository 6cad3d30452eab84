"""KL(q(z | x) || p(z)) of every latent site and, where both factorize, of every dimension of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from ppl_models.distributions.binary_code import BinaryCode


@dataclass(frozen=True)
class Divergence:
    """The divergence of one latent site from its prior, at S draws. Nats, float64.

    Args:
        values: (S,) of one image, or (S, M). Equal over the draws where it is integrated and no other site is above.
        per_dimension: mean over the draws, (L,) or (M, L); ``None`` where guide or prior does not factorize.
        analytic: whether it is integrated; else log q(z) - log p(z) at the draws.
        reason: why there is no divergence per dimension; empty if there is.
    """

    values: Tensor
    per_dimension: Tensor | None
    analytic: bool
    reason: str

    @staticmethod
    def join(parts: Sequence[Divergence]) -> Divergence:
        """Those of M images as one."""
        first = parts[0]
        dims = None if first.per_dimension is None else torch.stack([part.per_dimension for part in parts])
        return Divergence(torch.stack([part.values for part in parts], 1), dims, first.analytic, first.reason)


def divergences(latents: Sequence[str], model: Trace, guide: Trace, num_draws: int) -> dict[str, Divergence]:
    """The divergences of one image's sites from the traces of program and guide, S draws.

    Integrated where torch or Pyro knows how. In a ladder that is the divergence given the draw of the sites above,
    which is a term of the ELBO only if program and guide draw their sites in the same order: otherwise all are sampled.
    """
    orders = [[name for name in trace.nodes if name in latents] for trace in (model, guide)]
    found = {}
    for name in latents:
        p, q, value = model.nodes[name]["fn"], guide.nodes[name]["fn"], guide.nodes[name]["value"]
        values, analytic = _divergence(p, q, value, orders[0] == orders[1])
        parts, reason = (factors(p), factors(q)), ""
        dims = None
        if orders[0] != orders[1]:
            reason = f"site {name!r}: program and guide draw their sites in different orders"
        elif None in parts:
            whose = f"prior ({kind(p)})" if parts[0] is None else "guide"
            reason = f"site {name!r}: the {whose} does not factorize over dimensions"
        else:
            dims = _divergence(*parts, value, True)[0].expand(num_draws, 1, value.shape[-1])[:, 0].double().mean(0)
        found[name] = Divergence(values.expand(num_draws, 1)[:, 0].double(), dims, analytic, reason)
    return found


def _divergence(p: TorchDistribution, q: TorchDistribution, value: Tensor, analytic: bool) -> tuple[Tensor, bool]:
    """KL(q || p), integrated if that is wanted and known, and whether it was."""
    if analytic:
        shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)  # torch's of two Bernoullis does not broadcast
        try:
            return kl_divergence(q.expand(shape), p.expand(shape)), True
        except NotImplementedError:  # neither torch nor Pyro knows one for this pair
            pass
    return q.log_prob(value).double() - p.log_prob(value).double(), False


def factors(distribution: TorchDistribution) -> TorchDistribution | None:
    """The distributions of the single dimensions, batch shape (..., L); ``None`` where there are none.

    A one-hot vector has none: its entries are tied. Nor has a multivariate normal, a mixture or a flow.
    """
    if isinstance(distribution, BinaryCode):
        return dist.Bernoulli(logits=distribution.logits)
    if isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims == 1:
        return distribution.base_dist if not distribution.base_dist.event_shape else None
    return None


def kind(distribution: TorchDistribution) -> str:
    """The name of a distribution's class, or of the one inside ``Independent``."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return type(distribution).__name__.removeprefix("_")
