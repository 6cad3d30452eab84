"""Variational objectives through Pyro's own ELBO classes."""

from __future__ import annotations

import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide
from ppl_models.program import LatentProgram

from ..randomness import keyed_noise
from .base import Objective, refuse_baseline, require_guide


class PyroElbo(Objective):
    """Any ``pyro.infer`` ELBO object as an objective: its loss per image.

    Args:
        program, guide: the pair.
        elbo: for example ``Trace_ELBO()``, ``TraceMeanField_ELBO()`` or ``TraceEnum_ELBO()``.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: without a guide, or for an ELBO class without a differentiable loss. In Pyro 1.9 these are
            ``TraceGraph_ELBO`` and ``RenyiELBO``; the latter also puts the plate's scale inside its log-sum-exp.
    """

    name = "pyro"

    def __init__(self, program: nn.Module, guide: nn.Module | None, elbo: ELBO) -> None:
        refuse_baseline(program, self.name)
        require_guide(guide, self.name)
        if "differentiable_loss" not in dir(elbo):
            kind = type(elbo).__name__
            raise InvalidInput("elbo", kind, "has no differentiable loss", "use Trace_ELBO or another that has one")
        super().__init__(program, guide)
        self.elbo = elbo

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> (), nats."""
        return self.elbo.differentiable_loss(self.program, self.guide, x) / len(x)


class NegativeElbo(PyroElbo):
    """-1/N sum_n ELBO(x_n) in nats, reparameterized where the guide is.

    Args:
        program, guide: the pair.
        num_particles: samples of z per image and step.
        kl: ``"sampled"`` averages log q(z | x) - log p(z) over the samples (Pyro's ``Trace_ELBO``); ``"analytic"``
            integrates it (Pyro's ``TraceMeanField_ELBO``; Kingma & Welling 2014, eq. 10), which has the same mean and
            less variance; ``"auto"`` is analytic for one reparameterized latent whose divergence from the prior torch
            knows, and sampled otherwise.

    Raises:
        InvalidInput: for K < 1, or an unknown ``kl``.
    """

    name = "elbo"

    def __init__(self, program: nn.Module, guide: nn.Module | None, num_particles: int = 1, kl: str = "auto") -> None:
        if num_particles < 1:
            raise InvalidInput("--objective.num_particles", num_particles, "K counts samples", "give K >= 1")
        if kl not in ("auto", "sampled", "analytic"):
            raise InvalidInput("--objective.kl", kl, "unknown", "use auto, sampled or analytic")
        refuse_baseline(program, self.name)
        require_guide(guide, self.name)
        analytic = kl == "analytic" or (kl == "auto" and has_analytic_kl(program, guide))
        # The plates of a program are "image" and nothing else, which spares Pyro a guess that would run the model once
        # more.
        elbo = (TraceMeanField_ELBO if analytic else Trace_ELBO)(
            num_particles=num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1
        )
        super().__init__(program, guide, elbo)


def has_analytic_kl(program: nn.Module, guide: nn.Module) -> bool:
    """Whether KL(q(z | x) || p(z)) of a one-latent pair has a closed form that torch knows, with a reparameterized
    q."""
    if not (isinstance(program, LatentProgram) and isinstance(guide, Guide)):
        return False
    like = next(guide.parameters(), torch.empty(()))
    with torch.no_grad(), keyed_noise("analytic kl"):
        posterior, prior = guide.posterior(like.new_zeros(2, program.data_dim)), program.prior()
        if not posterior.has_rsample:
            return False
        try:
            kl_divergence(posterior, prior)
        except NotImplementedError:
            return False
    return True
