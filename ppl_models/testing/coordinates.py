"""Values of one or several sites as vectors: real ones for densities, lists of states for probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.constraints import Constraint, MixtureSameFamilyConstraint

from ..distributions.binary_code import all_codes, free_levels, is_one_hot
from .report import Skip

MAX_STATES = 4096


def plain(support: Constraint) -> Constraint:
    """The support of a mixture is that of its components."""
    return plain(support.base_constraint) if isinstance(support, MixtureSameFamilyConstraint) else support


@dataclass(frozen=True)
class Site:
    """What is known of the values of a site.

    Args:
        name: of the site.
        event_shape: of one value.
        support: of its distribution.
    """

    name: str
    event_shape: torch.Size
    support: Constraint

    @classmethod
    def of(cls, name: str, distribution: TorchDistribution) -> Site:
        """The site of a distribution."""
        return cls(name, distribution.event_shape, plain(distribution.support))

    @property
    def discrete(self) -> bool:
        """Whether its values are discrete."""
        return bool(self.support.is_discrete)

    def states(self) -> Tensor:
        """All values: (S, *event_shape).

        Raises:
            Skip: if they are more than 4096, or not of a kind that can be listed.
        """
        size = self.event_shape.numel()
        if is_one_hot(self.support):
            return torch.eye(size)
        levels = free_levels(self.support) if self.event_shape else _levels(self.support)
        if levels is None:
            raise Skip(f"the values of {self.name!r} cannot be listed: their support is {self.support}")
        if size * math.log(levels) > math.log(MAX_STATES) + 1e-9:
            raise Skip(f"{self.name!r} has {levels}^{size} values, more than {MAX_STATES}: check a smaller instance")
        return all_codes(size, levels).float().view(-1, *self.event_shape)


def _levels(support: Constraint) -> int | None:
    """The number of values of a scalar."""
    return free_levels(constraints.independent(support, 1)) if support.event_dim == 0 else None


def joint_states(sites: Sequence[Site]) -> dict[str, Tensor]:
    """All combinations of values of some discrete sites: name -> (S, *event_shape).

    Raises:
        Skip: if they are more than 4096, or cannot be listed.
    """
    states = [site.states() for site in sites]
    if math.prod(len(own) for own in states) > MAX_STATES:
        raise Skip(f"the sites have more than {MAX_STATES} values together")
    index = torch.cartesian_prod(*[torch.arange(len(own)) for own in states]).view(-1, len(states))
    return {site.name: own[index[:, column]] for column, (site, own) in enumerate(zip(sites, states, strict=True))}


class RealVectors:
    """Continuous values of some sites side by side and without constraints, as vectors of E numbers in all.

    Args:
        sites: the sites, continuous.
        values: of each, (M, N, *event): they tell the shapes and dtypes.

    Raises:
        Skip: for a support that torch does not know how to unfold.
    """

    def __init__(self, sites: Sequence[Site], values: Mapping[str, Tensor]) -> None:
        self.sites, self.like = sites, {site.name: values[site.name] for site in sites}
        try:
            self.transforms = {site.name: biject_to(site.support) for site in sites}
        except NotImplementedError as error:
            raise Skip(f"the support {sites[0].support} is not known to torch's biject_to") from error
        self.shapes = [self._unfold(site, values)[:1].shape[2:] for site in sites]

    def _unfold(self, site: Site, values: Mapping[str, Tensor]) -> Tensor:
        return self.transforms[site.name].inv(values[site.name].double())

    def flat(self, values: Mapping[str, Tensor]) -> Tensor:
        """Values (M, N, *event) -> vectors (M, N, E), float64."""
        parts = [self._unfold(site, values) for site in self.sites]
        return torch.cat([part.reshape(*part.shape[:2], -1) for part in parts], -1)

    def back(self, vectors: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Vectors (M, N, E) -> values, and log |d value / d vector| (M, N)."""
        values, jacobian = {}, vectors.new_zeros(vectors.shape[:2])
        parts = vectors.split([shape.numel() for shape in self.shapes], -1)
        for site, shape, part in zip(self.sites, self.shapes, parts, strict=True):
            part = part.reshape(*part.shape[:2], *shape)
            value = self.transforms[site.name](part)
            own = self.transforms[site.name].log_abs_det_jacobian(part, value)
            jacobian = jacobian + own.reshape(*own.shape[:2], -1).sum(-1)
            values[site.name] = value.to(self.like[site.name].dtype)
        return values, jacobian
