"""A program whose every answer is known: what a guide's bounds are held against."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyro
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from ..guides import GuideProgram
from ..programs.decoder import DecoderProgram
from .report import Failure
from .traces import drawn, log_prob_of, trace_of

# Updates after which the bound is looked at. The last stage has the mean of the parameters of the second half.
STEPS, BATCH, LEARNING_RATE = (0, 100, 300), 200, 1e-2
IMAGES, PARTICLES = 200, 100
# W^T W is far enough from diagonal that the best diagonal posterior is 0.035 nats off (for two latents), and small
# enough that a perceptron learns the posterior means in a few hundred updates.
ON_DIAGONAL, ABOVE = 0.5, 0.8


class LinearGaussian(DecoderProgram):
    """z ~ N(0, I), x | z ~ N(W z, I) with a fixed W, so that x ~ N(0, W W^T + I) and with M = W^T W + I the posterior
    is N(M^-1 W^T x, M^-1) (Tipping & Bishop 1999).

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z, at most D.
        diagonal: make the columns of W orthogonal, so that the posterior's covariance is diagonal.
    """

    def __init__(self, data_dim: int, latent_dim: int, *, diagonal: bool) -> None:
        super().__init__(data_dim, latent_dim, levels=0, likelihood="gaussian")
        self.decoder = nn.Linear(latent_dim, data_dim, bias=False)
        basis = torch.linalg.qr(torch.randn(data_dim, latent_dim))[0]
        mixing = ON_DIAGONAL * torch.eye(latent_dim)
        if not diagonal:
            mixing = mixing + ABOVE * torch.ones(latent_dim, latent_dim).triu(1)
        with torch.no_grad():
            self.decoder.weight.copy_(basis @ mixing)
            self.family.log_scale.zero_()
        self.requires_grad_(False)

    def log_evidence(self, x: Tensor) -> Tensor:
        """log N(x; 0, W W^T + I) in nats: (N, D) -> (N,), float64."""
        weight, x = self.decoder.weight.double(), x.double()
        covariance = weight @ weight.T + torch.eye(self.data_dim, dtype=x.dtype, device=x.device)
        squares = (x * torch.linalg.solve(covariance, x.T).T).sum(-1)
        return -(squares + torch.logdet(covariance) + self.data_dim * math.log(2 * math.pi)) / 2


def stages(guide: GuideProgram, oracle: LinearGaussian) -> Iterator[tuple[int, float, float]]:
    """Train a guide on images of the oracle: (updates so far, mean ELBO - log p(x), its standard error) by stages."""
    parameters = [p for p in guide.parameters() if p.requires_grad]
    images = oracle(size=IMAGES)
    yield STEPS[0], *_gap(guide, oracle, images)
    if not parameters:
        return
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE)
    averages = [torch.zeros_like(p) for p in parameters]
    for step in range(1, STEPS[-1] + 1):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - (step - 1) / STEPS[-1])
        _update(guide, oracle, optimizer)
        late = step - STEPS[-1] // 2
        for average, parameter in zip(averages, parameters, strict=True):
            if late > 0:
                average.lerp_(parameter.detach(), 1 / late)
            if step == STEPS[-1]:
                parameter.data.copy_(average)
        if step in STEPS:
            yield step, *_gap(guide, oracle, images)


def _update(guide: GuideProgram, oracle: LinearGaussian, optimizer: torch.optim.Optimizer) -> None:
    """One step up the ELBO; without Pyro's validation, which takes as long as the rest."""
    elbo = Trace_ELBO(max_plate_nesting=1)
    guide.train()
    optimizer.zero_grad()
    with pyro.validation_enabled(False):
        (elbo.differentiable_loss(oracle, guide, oracle(size=BATCH)) / BATCH).backward()
    optimizer.step()
    guide.eval()


@torch.no_grad()
def _gap(guide: GuideProgram, oracle: LinearGaussian, x: Tensor) -> tuple[float, float]:
    """Mean over images of ELBO - log p(x), and the standard error that its K draws per image leave."""
    trace = trace_of(guide, x, particles=(PARTICLES,))
    log_q = log_prob_of(trace)
    log_p = log_prob_of(trace_of(oracle, x, particles=(PARTICLES,), values=drawn(trace)))
    gap = (log_p - log_q).double() - oracle.log_evidence(x)
    if not gap.isfinite().all():
        raise Failure("on a linear-Gaussian program its ELBO is not finite: keep scales away from 0 and infinity")
    return float(gap.mean()), float((gap.var(0) / PARTICLES).sum().sqrt() / len(x))
