"""The priors under test, with weights that are far from their first ones, and a grid to integrate over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ppl_models.guides import DiagonalNormal
from ppl_models.priors import FlowPrior, MixtureOfNormals, Prior, StandardNormal, VampPrior

DATA_DIM = 6


def vamp(latent_dim: int, levels: int = 2) -> VampPrior:
    """With its guide, which it keeps alive."""
    prior = VampPrior(latent_dim, DATA_DIM, components=4, levels=levels)
    prior.bind_guide(DiagonalNormal(DATA_DIM, latent_dim, (5,), levels=levels))
    return prior


CONTINUOUS: dict[str, Callable[[int], Prior]] = {
    "standard normal": StandardNormal,
    "mixture": lambda latent_dim: MixtureOfNormals(latent_dim, 3),
    "one normal": lambda latent_dim: MixtureOfNormals(latent_dim, 1),
    "vamp": vamp,
    "vamp, real data": lambda latent_dim: vamp(latent_dim, 0),
    "flow": lambda latent_dim: FlowPrior(latent_dim, hidden=(7,)),
    "one flow": lambda latent_dim: FlowPrior(latent_dim, 1, (3, 5)),
    "three affine flows": lambda latent_dim: FlowPrior(latent_dim, 3, ()),
}


def parts(prior: Prior) -> list[torch.nn.Module]:
    """The prior and, where it is made from one, its guide."""
    return [prior, prior.guide()] if isinstance(prior, VampPrior) else [prior]


@torch.no_grad()
def shake(module: torch.nn.Module, amount: float) -> None:
    """Move every weight."""
    for parameter in module.parameters():
        parameter.add_(amount * torch.randn_like(parameter))


@pytest.fixture(params=sorted(CONTINUOUS))
def build(request: pytest.FixtureRequest) -> Callable[..., Prior]:
    """``build(L)``: a prior in float64 with shaken weights; ``shaken=False`` for its first ones."""

    def make(latent_dim: int, shaken: bool = True) -> Prior:
        prior = CONTINUOUS[request.param](latent_dim)
        for module in parts(prior):
            module.double()
            if shaken:
                # Flows get heavy tails from large weights, and the grid ends.
                shake(module, 0.2 if "flow" in request.param else 0.4)
        return prior

    return make


@pytest.fixture
def grid() -> Callable[[int], tuple[Tensor, float]]:
    """``grid(L)``: points (M, L) of [-12, 12]^L, L <= 2, and the volume that each stands for."""

    def points(latent_dim: int) -> tuple[Tensor, float]:
        axis = torch.linspace(-12, 12, 6001 if latent_dim == 1 else 481, dtype=torch.float64)
        step = float(axis[1] - axis[0])
        return torch.cartesian_prod(*[axis] * latent_dim).view(-1, latent_dim), step**latent_dim

    return points
