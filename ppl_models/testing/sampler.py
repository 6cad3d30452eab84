"""A distribution as a black box: what it draws, and the density that it claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from .coordinates import Site
from .traces import drawn, score, trace_of

# Of each test on draws, for all rows together.
LEVEL = 5e-4
REMEDY = "mend log_prob (scale, Jacobian, normalizing constant) or sample, so that they are of one distribution"


@dataclass(frozen=True)
class Sampler:
    """A distribution of N rows as a black box.

    Args:
        sites: what is drawn.
        draw: number of draws M -> values (M, N, *event) of each site.
        score: such values -> their claimed log-density (M, N).
    """

    sites: Sequence[Site]
    draw: Callable[[int], dict[str, Tensor]]
    score: Callable[[Mapping[str, Tensor]], Tensor]


def normal_of(vectors: Tensor) -> dist.MultivariateNormal:
    """The normal distribution of each row's central draws: (M, N, E) -> batch shape (N,), event shape (E,).

    Draws beyond four times the median deviation are left out: heavy tails have no covariance.
    """
    centre = vectors.median(0).values
    spread = (vectors - centre).abs().median(0).values.clamp(min=1e-12) / 0.6745
    kept = (((vectors - centre) / spread).abs() < 6).all(-1, keepdim=True).to(vectors.dtype)
    count = kept.sum(0)
    mean = (vectors * kept).sum(0) / count
    centred = (vectors - mean) * kept
    covariance = torch.einsum("mni,mnj->nij", centred, centred) / count.unsqueeze(-1)
    floor = 1e-8 * covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-30)
    return dist.MultivariateNormal(mean, covariance + floor.diag_embed())


def of_distribution(distribution: TorchDistribution, name: str = "value") -> Sampler:
    """A distribution whose batch is laid out in N rows."""
    batch, event = distribution.batch_shape, distribution.event_shape

    def draw(number: int) -> dict[str, Tensor]:
        return {name: distribution.sample(torch.Size((number,))).reshape(number, -1, *event)}

    def claimed(values: Mapping[str, Tensor]) -> Tensor:
        value = values[name]
        return distribution.log_prob(value.reshape(len(value), *batch, *event)).reshape(len(value), -1)

    return Sampler([Site.of(name, distribution)], draw, claimed)


def of_guide(guide: nn.Module, x: Tensor) -> Sampler:
    """What a guide draws for images x (N, D), all of its sites together."""
    trace = trace_of(guide, x)
    sites = [Site.of(name, trace.nodes[name]["fn"]) for name in trace.stochastic_nodes]

    def draw(number: int) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in drawn(trace_of(guide, x, particles=(number,))).items()}

    def claimed(values: Mapping[str, Tensor]) -> Tensor:
        number = len(next(iter(values.values())))
        return score(guide, x, values, particles=(number,)).expand(number, len(x))

    return Sampler(sites, draw, claimed)
