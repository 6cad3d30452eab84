"""Hamiltonian Monte Carlo on one distribution of the path, for all chains of all images of a block at once."""

from __future__ import annotations

import torch
from torch import Tensor

from .bridge import Bridge, Point


def leapfrog(
    bridge: Bridge, point: Point, momentum: Tensor, beta: Tensor, step: Tensor, num_leapfrog: int
) -> tuple[Point, Tensor]:
    """Follow the flow of H(u, p) = -log f_beta(u) + |p|^2 / 2 for ``num_leapfrog`` steps of Leimkuhler & Reich's
    leapfrog (Neal 2011, 1206.1901, section 2.3): volume is preserved, and from the end with the momentum turned round
    the same steps lead back.

    One density and gradient per step: those at ``point`` are known.

    Args:
        bridge: the path.
        point: K chains of N images.
        momentum: (K, N, L).
        beta: (N,), in the precision of the chains.
        step: (K, N, L) or what broadcasts to it: lengths of a step in each coordinate.
        num_leapfrog: number of steps.

    Returns:
        The end point and the momentum there.
    """
    slope = beta.unsqueeze(-1)
    half = step / 2
    momentum = torch.addcmul(momentum, half, point.gradient(slope))
    for number in range(num_leapfrog):
        point = bridge.at(torch.addcmul(point.u, step, momentum))
        length = half if number == num_leapfrog - 1 else step
        momentum = torch.addcmul(momentum, length, point.gradient(slope))
    return point, momentum


def move(
    bridge: Bridge,
    point: Point,
    beta: Tensor,
    step: Tensor,
    momentum: Tensor,
    log_uniform: Tensor,
    num_leapfrog: int,
) -> tuple[Point, Tensor, Tensor]:
    """One Hamiltonian Monte Carlo move that leaves f_beta invariant: a trajectory from a fresh momentum, then a
    Metropolis test of its error in H (Duane et al. 1987; Neal 2011, 1206.1901). Trajectories that diverge to NaN are
    rejected.

    Args:
        bridge, point, beta, step, momentum, num_leapfrog: as ``leapfrog``; ``momentum`` is standard normal. Steps of
            different lengths in different coordinates are a diagonal mass matrix.
        log_uniform: (K, N), logarithms of uniforms.

    Returns:
        The next point; whether the end was accepted (K, N); the probability of that (K, N).
    """
    end, final = leapfrog(bridge, point, momentum, beta, step, num_leapfrog)
    kinetic = (momentum.square() - final.square()).sum(-1) / 2
    log_ratio = end.log_density(beta) - point.log_density(beta) + kinetic
    accepted = log_uniform < log_ratio
    probability = log_ratio.clamp(max=0).exp().nan_to_num(0.0)
    return end.where(accepted, point), accepted, probability
