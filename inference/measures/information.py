"""The information of z about x under q, from the aggregate posterior q(z) = 1/N sum_j q(z | x_j) taken in full."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from ppl_models.guides import Guide

from ..estimators.base import MAX_ELEMENTS, rows_within
from ..weights import sum_of_sites
from .divergences import factors

# Draws, (n, L of the site) by site -> log q(z | x_j) of the images of a chunk, (n, J).
Scores = Callable[[dict[str, Tensor]], Tensor]
# Squares of z / sigma beyond this lose digits in the matrix form: 1e10 times the rounding of float64 is 1e-6 nats.
MAX_SQUARE = 1e10


@dataclass(frozen=True)
class Mixture:
    """Log-densities of n draws under their own posterior and under all N. Nats, float64, (n,) each.

    Args:
        own: log q(z | x) of the image the draw came from.
        others: log sum over the other N - 1 images.
        count: N.
    """

    own: Tensor
    others: Tensor
    count: int

    @property
    def log_density(self) -> Tensor:
        """log q(z), the own image among the N."""
        return torch.logaddexp(self.own, self.others) - math.log(self.count)

    @property
    def lower(self) -> Tensor:
        """log q(z | x) - log q(z). Its mean is the information about which of these N images, at most ln N, and in
        expectation at most that about an image of the population (van den Oord et al. 2018, 1807.03748)."""
        return self.own - self.log_density

    @property
    def upper(self) -> Tensor:
        """The same with the own image left out of q(z): in expectation at least the information about an image of the
        population (Poole et al. 2019, 1905.06922, eq. 12)."""
        return self.own - self.others + math.log(self.count - 1)


def mixture(
    guide: nn.Module, x: Tensor, draws: dict[str, Tensor], owners: Tensor, max_elements: int = 8 * MAX_ELEMENTS
) -> Mixture:
    """Score n draws under the posterior of every image.

    Args:
        guide: q(z | x); its posteriors are computed once per image.
        x: all images (N, D).
        draws: site name -> (n, L).
        owners: (n,) which of the N images each draw came from.
        max_elements: bound on the elements of a chunk; it does not change the result.

    Raises:
        NotImplementedError: for a guide whose density at another image's z is not known.
    """
    first = next(iter(draws.values()))
    own = first.new_full((len(first),), -torch.inf, dtype=torch.float64)
    others = own.clone()
    with pyro.validation_enabled(False):
        for start, size, scores in chunks_of(guide, x, draws, max_elements):
            rows = max(1, max_elements // (size * max(z.shape[-1] for z in draws.values())))
            for begin in range(0, len(first), rows):
                part = slice(begin, begin + rows)
                pairs = scores({name: z[part] for name, z in draws.items()}).double()
                column = owners[part] - start
                mine = ((column >= 0) & (column < size)).nonzero()[:, 0]
                own[part][mine] = pairs[mine, column[mine]]
                pairs[mine, column[mine]] = -torch.inf
                others[part] = torch.logaddexp(others[part], pairs.logsumexp(1))
    return Mixture(own, others, len(x))


def chunks_of(
    guide: nn.Module, x: Tensor, draws: dict[str, Tensor], max_elements: int
) -> Iterator[tuple[int, int, Scores]]:
    """Chunks of images: where each starts, how many it has, and what scores draws under their posteriors."""
    size = rows_within(max_elements, x.shape[-1], guide)
    for start in range(0, len(x), size):
        images = x[start : start + size]
        if isinstance(guide, Guide):
            yield start, len(images), scores_of(guide.posterior(images), next(iter(draws)), draws)
        else:
            yield start, len(images), lambda values, images=images: traced_scores(guide, images, values)


def scores_of(posterior: TorchDistribution, name: str, draws: dict[str, Tensor]) -> Scores:
    """log q(z | x_j) of one latent vector: by matrix products for diagonal normals, else pair by pair."""
    if is_diagonal_normal(posterior):
        base = posterior.base_dist
        loc, precision = base.loc.double(), base.scale.double() ** -2
        largest = (draws[name].double().square().amax() + loc.square().amax()) * precision.amax()
        if largest < MAX_SQUARE:
            constant = (-0.5 * loc**2 * precision + 0.5 * precision.log()).sum(-1)
            constant = constant - 0.5 * math.log(2 * math.pi) * loc.shape[-1]
            return lambda values: by_products(values[name].double(), loc * precision, precision, constant)
    size = posterior.batch_shape[0]
    return lambda values: posterior.log_prob(values[name].unsqueeze(1).expand(-1, size, -1))


def is_diagonal_normal(posterior: TorchDistribution) -> bool:
    """Whether it is a product of normals, on a device that has float64. By type: a subclass may score in its own
    way."""
    if not isinstance(posterior, Independent) or posterior.reinterpreted_batch_ndims != 1:
        return False
    base = posterior.base_dist
    return type(base) in (Normal, dist.Normal) and base.loc.device.type != "mps"


def by_products(z: Tensor, weighted: Tensor, precision: Tensor, constant: Tensor) -> Tensor:
    """c_j + z . (mu_j / sigma_j^2) - 1/2 z^2 . (1 / sigma_j^2): z (n, L) -> (n, J)."""
    return torch.addmm(constant, z, weighted.T).addmm_(z.square(), precision.T, alpha=-0.5)


def traced_scores(guide: nn.Module, images: Tensor, values: dict[str, Tensor]) -> Tensor:
    """log q(z | x_j) of a guide with several sites, from its trace with the draws put in: (n, J)."""
    count = len(next(iter(values.values())))
    data = {name: z.unsqueeze(1).expand(-1, len(images), -1) for name, z in values.items()}
    with pyro.plate("particles", count, dim=-2):
        trace = poutine.trace(poutine.condition(guide, data=data)).get_trace(images)
    return sum_of_sites(prune_subsample_sites(trace), (count, len(images))).clone()


def marginals(
    guide: nn.Module, x: Tensor, z: Tensor, owners: Tensor, max_elements: int = 8 * MAX_ELEMENTS
) -> tuple[Tensor, Tensor] | None:
    """log q(z_l | x) of the own image and log q(z_l) = log 1/N sum_j q(z_l | x_j), each (n, L), float64, for draws z
    (n, L); ``None`` where the guide does not factorize over dimensions."""
    total = z.new_full(z.shape, -torch.inf, dtype=torch.float64)
    own = total.clone()
    size = rows_within(max_elements, x.shape[-1], guide)
    with pyro.validation_enabled(False):
        for start in range(0, len(x), size):
            single = factors(guide.posterior(x[start : start + size]))
            if single is None:
                return None
            count = single.batch_shape[0]
            rows = max(1, max_elements // (count * z.shape[-1]))
            for begin in range(0, len(z), rows):
                part = slice(begin, begin + rows)
                pairs = single.log_prob(z[part].unsqueeze(1)).double()
                column = owners[part] - start
                mine = ((column >= 0) & (column < count)).nonzero()[:, 0]
                own[part][mine] = pairs[mine, column[mine]]
                total[part] = torch.logaddexp(total[part], pairs.logsumexp(1))
    return own, total - math.log(len(x))


def evenly(count: int, wanted: int) -> Sequence[int]:
    """At most ``wanted`` of 0..count-1, evenly spaced: the same ones whatever the batch."""
    wanted = min(count, max(1, wanted))
    return [number * count // wanted for number in range(wanted)]
