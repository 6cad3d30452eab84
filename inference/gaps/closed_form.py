"""The approximation gap where theory gives it: the yardstick of the search."""

from __future__ import annotations

import torch
from torch import nn

from ppl_models.guides import DiagonalNormal, FullRankNormal
from ppl_models.programs import LinearVAE


@torch.no_grad()
def closed_form_gap(program: nn.Module, guide: nn.Module) -> float | None:
    """KL(q* || p(z | x)) in nats for a linear program with N(0, I) prior, the same for all its images; ``None`` where
    no formula is known.

    The posterior is N(m, P^-1) with P = (W^T W + sigma^2 I) / sigma^2 (Tipping & Bishop 1999). The diagonal normal
    closest to it in KL(q || p) has its mean and variances 1 / P_ll (Turner & Sahani 2011), which leaves
    1/2 (sum_l log P_ll - log det P). A full-rank normal leaves nothing.
    """
    if not isinstance(program, LinearVAE):
        return None
    if isinstance(guide, FullRankNormal):
        return 0.0
    if not isinstance(guide, DiagonalNormal):
        return None
    weight, variance = program.weight.double(), program.scale.double().square()
    precision = weight.T @ weight / variance + torch.eye(weight.shape[1], dtype=torch.float64, device=weight.device)
    return float((precision.diagonal().log().sum() - torch.logdet(precision)) / 2)
