"""The path between two densities of the latents, and where K chains of N images stand on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import Independent, Normal

from ppl_models.program import LatentProgram


@dataclass(frozen=True)
class Point:
    """K chains of N images: unconstrained latents u, both ends' densities there, and their gradients.

    The path is f_beta(u) = start(u)^(1 - beta) joint(u)^beta, that is log f_beta = log start + beta V with
    V = log joint - log start.

    Attributes:
        u: (K, N, L).
        log_start: (K, N).
        log_ratio: (K, N), V.
        start_gradient, ratio_gradient: (K, N, L).
    """

    u: Tensor
    log_start: Tensor
    log_ratio: Tensor
    start_gradient: Tensor
    ratio_gradient: Tensor

    def log_density(self, beta: Tensor) -> Tensor:
        """log f_beta(u): beta (N,) -> (K, N)."""
        return torch.addcmul(self.log_start, beta, self.log_ratio)

    def gradient(self, slope: Tensor) -> Tensor:
        """Gradient of log f_beta: beta as (N, 1) -> (K, N, L)."""
        return torch.addcmul(self.start_gradient, slope, self.ratio_gradient)

    def where(self, chosen: Tensor, other: Point) -> Point:
        """This point's chains where ``chosen`` (K, N), the other's elsewhere."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return Point(*(torch.where(chosen if a.ndim == 2 else chosen.unsqueeze(-1), a, b) for a, b in pairs))


class Bridge(ABC):
    """The path from a start distribution to the joint density p(x, z), for one block of images.

    Attributes:
        length: L, the number of unconstrained coordinates of one image's latents.
        sites: the latent sites that are moved.
        x: images (N, D).
        multiplicity: how many rows of the program one chain costs.
    """

    length: int
    sites: tuple[str, ...]
    x: Tensor
    multiplicity: int = 1

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.x.device

    @abstractmethod
    def at(self, u: Tensor) -> Point:
        """Both densities and their gradients: u (K, N, L)."""

    @abstractmethod
    def draw(self, place: int, num_chains: int) -> Tensor:
        """Independent draws from the start for the image at one place, in unconstrained coordinates: (K, L)."""

    @abstractmethod
    def unconstrained(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Latents by site, each (N, ...), as u: (N, L)."""


class Density(ABC):
    """One factor of the path, with its gradient."""

    @abstractmethod
    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """u (K, N, L) -> log-density (K, N) and gradient (K, N, L)."""


class NormalDensity(Density):
    """A diagonal normal, whose gradient is written down: -(u - mu) / sigma^2."""

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.precision = loc, scale**-2
        self.constant = Normal(torch.zeros_like(loc), scale).log_prob(torch.zeros_like(loc)).sum(-1)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Closed form."""
        difference = self.loc - u
        gradient = difference * self.precision
        return torch.linalg.vecdot(difference, gradient).mul(-0.5).add(self.constant), gradient


class AutogradDensity(Density):
    """Any differentiable log-density, one forward and one backward pass."""

    def __init__(self, log_density: Callable[[Tensor], Tensor]) -> None:
        self.log_density = log_density

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The value, detached, and its gradient."""
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            value = self.log_density(leaf)
        return value.detach(), gradient_of(value, leaf)


def gradient_of(value: Tensor, leaf: Tensor, *, keep: bool = False) -> Tensor:
    """d value / d leaf, each chain its own: (K, N) and (K, N, L) -> (K, N, L); 0 where a density does not depend on it.

    Args:
        value, leaf: the density and where it was taken.
        keep: whether the graph is needed once more.
    """
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(value, leaf, torch.ones_like(value), retain_graph=keep, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient


def density_of(distribution: TorchDistribution) -> Density:
    """A distribution over vectors as a factor of the path."""
    base = distribution.base_dist if isinstance(distribution, Independent) else None
    # By type and not by isinstance: a subclass may score in its own way.
    plain = isinstance(base, Normal) and type(base).__name__ == "Normal"
    if plain and distribution.reinterpreted_batch_ndims == 1:
        return NormalDensity(base.loc, base.scale)
    return AutogradDensity(distribution.log_prob)


class VectorBridge(Bridge):
    """The path of a ``LatentProgram`` over real z: no Pyro site is recorded, and normal factors cost no autograd.

    Args:
        program: gives the likelihood.
        prior: ``program.prior()``.
        x: images (N, D).
        posteriors: q(z | x) of all images, and of one place alone, where the path starts at a guide; it starts at the
            prior otherwise.
    """

    sites = ("z",)

    def __init__(
        self,
        program: LatentProgram,
        prior: TorchDistribution,
        x: Tensor,
        posteriors: tuple[TorchDistribution, Callable[[int], TorchDistribution]] | None = None,
    ) -> None:
        self.program, self.prior, self.x, self.length = program, prior, x, prior.event_shape[0]
        self.posteriors = posteriors
        self.log_prior = density_of(prior)
        self.log_likelihood = AutogradDensity(lambda z: program.likelihood(z).log_prob(x))
        self.log_guide = None if posteriors is None else density_of(posteriors[0])

    def at(self, u: Tensor) -> Point:
        """One pass through the decoder and back."""
        prior, prior_gradient = self.log_prior(u)
        likelihood, gradient = self.log_likelihood(u)
        if self.log_guide is None:
            return Point(u, prior, likelihood, prior_gradient, gradient)
        start, start_gradient = self.log_guide(u)
        return Point(
            u, start, likelihood + (prior - start), start_gradient, gradient + (prior_gradient - start_gradient)
        )

    def draw(self, place: int, num_chains: int) -> Tensor:
        """z ~ p(z), or q(z | x) of that image: (K, L)."""
        if self.posteriors is None:
            return self.prior.sample((num_chains,))
        return self.posteriors[1](place).sample((num_chains,)).view(num_chains, self.length)

    def unconstrained(self, latents: Mapping[str, Tensor]) -> Tensor:
        """z itself."""
        return latents["z"]
