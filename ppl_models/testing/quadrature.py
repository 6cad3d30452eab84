"""A density of one or two numbers on a grid: its mass, and the distribution functions that draws must follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .coordinates import RealVectors
from .report import Failure, Skip, holm
from .sampler import LEVEL, REMEDY, Sampler, normal_of

# Nodes per number, and how far they reach: sinh(12) is 80,000 standard deviations.
NODES, REACH = {1: 2001, 2: 301}, 12.0
TOLERANCE = 5e-3
CHUNK = 20_000


@dataclass(frozen=True)
class Grid:
    """The mass of q around the nodes z = m + C sinh(t), t in [-12, 12]^E, with m and C C^T the centre and covariance of
    draws, in coordinates without constraints: dense at the centre, and far out into heavy tails.

    Args:
        axis: t (G,).
        masses: (G,) * E + (N,).
        draws: the standardized draws C^-1 (z - m) of a second sample (M, N, E).
    """

    axis: Tensor
    masses: Tensor
    draws: Tensor

    def total(self, stride: int = 1) -> Tensor:
        """The mass by the trapezoidal rule, from every ``stride``-th node: (N,)."""
        part = self.masses
        for dim in range(self.draws.shape[-1]):
            part = part.index_select(dim, torch.arange(0, len(self.axis), stride, device=part.device))
        return part.flatten(0, -2).sum(0) * stride ** self.draws.shape[-1]

    def settled(self) -> Tensor:
        """Rows (N,) whose mass does not hang on the fineness of the grid."""
        return (self.total() - self.total(2)).abs() < TOLERANCE / 2


def gridded(sampler: Sampler, num_draws: int) -> Grid:
    """Lay a density on a grid.

    Raises:
        Skip: for more than two numbers, or discrete ones.
    """
    if any(site.discrete for site in sampler.sites):
        raise Skip("probabilities are summed, not integrated")
    fitted, values = sampler.draw(num_draws), sampler.draw(num_draws)
    coordinates = RealVectors(sampler.sites, values)
    r = normal_of(coordinates.flat(fitted))
    size = r.event_shape[0]
    if size > max(NODES):
        raise Skip(f"a value has {size} numbers: quadrature serves up to {max(NODES)}")
    axis = torch.linspace(-REACH, REACH, NODES[size], dtype=torch.float64)
    grid = torch.cartesian_prod(*[axis] * size).view(-1, 1, size).to(r.loc.device)
    step = size * math.log(2 * REACH / (len(axis) - 1)) + r.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    masses = []
    for nodes in grid.split(max(1, CHUNK // len(r.loc))):
        vectors = r.loc + torch.einsum("nij,mnj->mni", r.scale_tril, nodes.sinh().expand(-1, *r.loc.shape))
        masses.append(_masses(sampler, coordinates, vectors, nodes.cosh().log().sum(-1) + step))
    centred = (coordinates.flat(values) - r.loc).unsqueeze(-1)
    draws = torch.linalg.solve_triangular(r.scale_tril, centred, upper=False).squeeze(-1)
    return Grid(axis.to(r.loc.device), torch.cat(masses).view(*[len(axis)] * size, -1), draws)


def _masses(sampler: Sampler, coordinates: RealVectors, vectors: Tensor, log_weights: Tensor) -> Tensor:
    values, jacobian = coordinates.back(vectors)
    terms = sampler.score(values).double() + jacobian + log_weights
    # Far out a transform saturates to the border of the support, where a density may be infinite or undefined.
    return terms.nan_to_num(nan=-torch.inf, posinf=-torch.inf).exp()


@torch.no_grad()
def check_mass(sampler: Sampler, num_draws: int = 1000) -> str:
    """Raise ``Failure`` unless a density integrates to 1 within 0.005; returns a remark.

    Raises:
        Failure: if it does not.
        Skip: for more than two numbers, or a density too rough for the grid.
    """
    grid = gridded(sampler, num_draws)
    if not grid.settled().any():
        raise Skip("the density is too rough for quadrature")
    total = grid.total()[grid.settled()]
    worst = float(total[(total - 1).abs().argmax()])
    if not abs(worst - 1) < TOLERANCE:
        raise Failure(f"log_prob integrates to {worst:.4g}, not to 1: mend its normalizing constant")
    return f"integral {worst:.5f}"


@torch.no_grad()
def check_marginals(sampler: Sampler, num_draws: int = 4000) -> str:
    """Raise ``Failure`` unless each standardized number is distributed as its gridded density says (the test of
    Kolmogorov 1933); returns a remark. Rows whose mass on the grid is not 1 are left out.

    Raises:
        Failure: if one is not.
        Skip: for more than two numbers, or densities too rough for the grid.
    """
    from scipy.special import kolmogorov  # here: importing scipy sets warning filters

    grid = gridded(sampler, num_draws)
    rows = (grid.settled() & ((grid.total() - 1).abs() < TOLERANCE)).nonzero()[:, 0].tolist()
    if not rows:
        raise Skip("the density is too rough for quadrature")
    size = grid.draws.shape[-1]
    distances = [_distance(grid, row, dim) for row in rows for dim in range(size)]
    rejected = holm([float(kolmogorov(d * math.sqrt(len(grid.draws)))) for d in distances], LEVEL)
    if rejected:
        problem = f"the draws' distribution function is off log_prob's by {distances[rejected[0]]:.3f}"
        raise Failure(f"{problem} at some value; {REMEDY}")
    return f"distribution functions within {max(distances):.3f}"


def _distance(grid: Grid, row: int, dim: int) -> float:
    """The largest difference between the draws' and the density's distribution functions along one axis."""
    others = [d for d in range(grid.draws.shape[-1]) if d != dim]
    masses = grid.masses[..., row].sum(others) if others else grid.masses[..., row]
    # Half of a node's mass lies on either side of it.
    below = masses.cumsum(0) - masses / 2
    draws = grid.draws[:, row, dim].asinh().contiguous()
    counted = torch.searchsorted(draws.sort().values, grid.axis, right=True).double() / len(draws)
    return float((counted - below).abs().max())
