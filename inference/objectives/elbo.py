"""The negative ELBO: through Pyro's own classes, and with its divergence weighted or held above free bits."""

from __future__ import annotations

import math
from itertools import chain

import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn
from torch.distributions import kl_divergence

from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide
from ppl_models.program import LatentProgram

from ..estimators.base import evaluation_mode
from ..randomness import keyed_noise
from ..weights import traces
from .base import Objective, refuse_baseline, require_guide
from .schedules import Schedule
from .terms import divergence, factors, probe, require_mean_field, score, total_log_prob, zero_valued


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
    """-1/N sum_n E_q[log p(x_n | z)] + beta f(t) sum_g max(lambda, 1/N sum_n KL_g(x_n)) in nats.

    With the defaults this is -1/N sum_n ELBO(x_n), by Pyro's own classes. The weight beta (Higgins et al. 2017), the
    schedule f and the free bits lambda touch the divergence from the prior and never the likelihood. With any of them
    the value is no bound and is not reported: validation watches the ELBO at beta = 1.

    Free bits (Kingma et al. 2016, 1606.04934, eq. 15; Chen et al. 2017, 1611.02731): a group g of latents whose
    divergence, in the mean over the batch (and the particles), is below lambda costs lambda and gets no gradient from
    it. A group is a latent site or, per dimension, one component of it.

    A guide without reparameterization is trained by the score function, its weight the same sum of terms: log p(x | z)
    - beta f(t) sum_g KL_g over the groups above lambda.

    Args:
        program, guide: the pair.
        num_particles: samples of z per image and step.
        kl: ``"sampled"`` averages log q(z | x) - log p(z) over the samples (Pyro's ``Trace_ELBO``); ``"analytic"``
            integrates it (Pyro's ``TraceMeanField_ELBO``; Kingma & Welling 2014, eq. 10), which has the same mean and
            less variance; ``"auto"`` is analytic for one reparameterized latent whose divergence from the prior torch
            knows, and sampled otherwise.
        beta: weight of the divergence.
        free_bits: lambda, nats (not bits) per group; 0 for none.
        free_bits_per: ``"group"``: the sites of the program; ``"dim"``: the dimensions of each site, where prior and
            guide both factorize over them.
        schedule, updates, cycles, delay: f, see ``Schedule``: ``"constant"``, ``"linear"`` or ``"cyclical"`` over so
            many updates after a delay. Only calls in training mode are counted.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: without a guide; for K < 1, an unknown ``kl``, ``free_bits_per`` or schedule, a negative or
            infinite weight or free bits; free bits per dimension of a latent that does not factorize; an analytic
            divergence of a guide that is not reparameterized, or draws the latents in another order than the program.
    """

    name = "elbo"

    def __init__(
        self,
        program: nn.Module,
        guide: nn.Module | None,
        num_particles: int = 1,
        kl: str = "auto",
        beta: float = 1.0,
        free_bits: float = 0.0,
        free_bits_per: str = "group",
        schedule: str = "constant",
        updates: int = 2000,
        cycles: int = 4,
        delay: int = 0,
    ) -> None:
        check_particles(num_particles)
        check_choice("kl", kl, ("auto", "sampled", "analytic"))
        check_choice("free_bits_per", free_bits_per, ("group", "dim"))
        check_weight("beta", beta)
        check_weight("free_bits", free_bits)
        refuse_baseline(program, self.name)
        require_guide(guide, self.name)
        if kl == "analytic":
            require_mean_field(program, guide, "--objective.kl", kl)
        analytic = kl == "analytic" or (kl == "auto" and has_analytic_kl(program, guide))
        super().__init__(program, guide, make_elbo(analytic, num_particles))
        self.num_particles, self.analytic = int(num_particles), analytic
        self.beta, self.free_bits = float(beta), float(free_bits)
        self.per_dimension = free_bits > 0 and free_bits_per == "dim"
        self.schedule = Schedule(schedule, updates, cycles, delay)
        self.plain = beta == 1 and free_bits == 0 and schedule == "constant"
        if self.per_dimension:
            check_factorized(program, guide)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> (), nats."""
        return super().forward(x) if self.plain else self.weighted(x)

    def weighted(self, x: Tensor) -> Tensor:
        """The same from the terms of the bound: x (N, D) -> (), nats."""
        weight = self.beta * self.schedule()
        model, guide = traces(self.program, self.guide, x, self.num_particles)
        gain = log_p = total_log_prob(model, observed=True)
        loss = -log_p.mean()
        for name in self.program.latents:
            kl = divergence(
                model.nodes[name], guide.nodes[name], analytic=self.analytic, per_dimension=self.per_dimension
            )
            cost, counted = self.cost(kl)
            loss = loss + weight * cost
            gain = gain - weight * counted
        log_q = score(guide)
        return loss if log_q is None else loss - (gain.detach() * zero_valued(log_q)).mean()

    def cost(self, kl: Tensor) -> tuple[Tensor, Tensor]:
        """What a site costs, free bits applied: (), and its divergence where it counts for the gradient: (K, N)."""
        mean = kl.mean((0, 1))
        counts = mean > self.free_bits if self.free_bits else torch.ones_like(mean, dtype=torch.bool)
        rest = tuple(range(2, kl.ndim))
        counted = torch.where(counts, kl, torch.zeros_like(kl))
        return torch.where(counts, mean, self.free_bits).sum(), counted.sum(rest) if rest else counted


def make_elbo(analytic: bool, num_particles: int = 1) -> ELBO:
    """Pyro's ELBO with an integrated divergence or a sampled one."""
    # A program's one plate is "image"; to say so spares Pyro a guess that would run the model once more.
    return (TraceMeanField_ELBO if analytic else Trace_ELBO)(
        num_particles=num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1
    )


def check_particles(num_particles: int) -> None:
    """Raise ``InvalidInput`` for K < 1."""
    if num_particles < 1:
        raise InvalidInput("--objective.num_particles", num_particles, "K counts samples", "give K >= 1")


def check_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    """Raise ``InvalidInput`` for a value that is not among the known ones."""
    if value not in known:
        remedy = f"use {', '.join(known[:-1])} or {known[-1]}"
        raise InvalidInput(f"--objective.{option}", value, "unknown", remedy)


def check_weight(option: str, value: float) -> None:
    """Raise ``InvalidInput`` for a weight that is negative, infinite or NaN."""
    if not 0 <= value < math.inf:
        raise InvalidInput(f"--objective.{option}", value, "is no finite weight", "give a number >= 0")


def check_factorized(program: nn.Module, guide: nn.Module) -> None:
    """Raise ``InvalidInput`` unless prior and guide of every latent factorize over the same dimensions."""
    model, own = probe(program, guide)
    for name in program.latents:
        p, q = (factors(trace.nodes[name]["fn"], name) for trace in (model, own))
        rank = len(p.batch_shape)  # a prior that no latent precedes has no particles
        if p.batch_shape != q.batch_shape[-rank:] or p.event_shape != q.event_shape:
            problem = f"prior and guide of site {name!r} factorize over different dimensions"
            raise InvalidInput("--objective.free_bits_per", "dim", problem, "use group")


def has_analytic_kl(program: nn.Module, guide: nn.Module) -> bool:
    """Whether KL(q(z | x) || p(z)) of a one-latent pair has a closed form that torch knows, with a reparameterized
    q."""
    if not (isinstance(program, LatentProgram) and isinstance(guide, Guide)):
        return False
    # A guide without parameters works in the program's precision.
    like = next(chain(guide.parameters(), program.parameters()), torch.empty(()))
    with evaluation_mode(program, guide), keyed_noise("analytic kl"):
        posterior, prior = guide.posterior(like.new_zeros(2, program.data_dim)), program.prior()
        if not posterior.has_rsample:
            return False
        if posterior.event_shape != prior.event_shape:  # a misfit, which the rehearsal names
            return False
        try:
            kl_divergence(posterior, prior)
        except NotImplementedError:
            return False
    return True
