"""The bound of discrete latents without sampling: every value of z is enumerated."""

from __future__ import annotations

import math

import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO, config_enumerate
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from ppl_models.distributions.binary_code import MAX_BITS
from ppl_models.errors import InvalidInput

from ..estimators.base import evaluation_mode
from ..estimators.enumerated import JointOfCodes, latent_values
from ..randomness import keyed_noise
from ..weights import check_sites
from .base import Objective, refuse_baseline, require_guide

MAX_STATES = 2**MAX_BITS


class TraceEnum(Objective):
    """-1/N sum_n ELBO(x_n) in nats for discrete latents, exact: Pyro's ``TraceEnum_ELBO`` with the guide's sites
    enumerated in parallel.

        ELBO(x) = sum_z q(z | x) [log p(x, z) - log q(z | x)]

    The sum over all values of z takes the place of samples, so that neither the loss nor its gradient has any noise:
    score-function estimates of the same gradient (Mnih & Gregor 2014, 1402.0030) are noisy. An update decodes each of
    the S values once and scores S x N images, which bounds S at 4096.

    With ``marginal`` the loss is the exact -1/N sum_n log p(x_n) = -1/N sum_n log sum_z p(x_n, z), the program's own z
    summed out: no bound, and the program's gradient does not depend on the guide. The guide is trained beside it
    towards the posterior of the program as it stands, by the gradient of KL(q(z | x) || p(z | x)), which adds nothing
    to the value of the loss and reaches no parameter of the program; estimators that need a guide keep one that fits.
    Without a guide (``None``) the program is trained alone. Pyro's own enumeration of a model's site gives the same
    number, but scales prior and likelihood apart before it multiplies them, so that it loses codes whose prior is below
    e^-88 of the largest in float32; the sum is therefore taken here, in one log-sum-exp.

    Args:
        program, guide: the pair.
        marginal: the exact log p(x) in place of the bound.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: without a guide (unless ``marginal``), for latents that are continuous, cannot be enumerated or
            have more than 4096 values.
    """

    name = "trace-enum"

    def __init__(self, program: nn.Module, guide: nn.Module | None = None, marginal: bool = False) -> None:
        refuse_baseline(program, self.name)
        if not isinstance(marginal, bool):
            raise InvalidInput("--objective.marginal", marginal, "is a choice", "give true or false")
        if not (marginal and program.latents):
            require_guide(guide, self.name)
        if marginal:
            self.codes(program)
        if guide is not None:
            check_enumerable(program, guide)
        super().__init__(program, guide)
        # The plates of a program are "image" and nothing else; values of z get the dimensions to the left of it.
        self.marginal, self.elbo = marginal, TraceEnum_ELBO(max_plate_nesting=1)

    def codes(self, program: nn.Module) -> Tensor:
        """All values of the program's latent vector: (S, L)."""
        return latent_values(program, MAX_STATES, argument=f"--objective {self.name}", instead="elbo")

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> (), nats."""
        if self.marginal:
            return self._negative_evidence(x)
        guide = config_enumerate(self.guide, default="parallel")
        return self.elbo.differentiable_loss(self.program, guide, x) / len(x)

    def _negative_evidence(self, x: Tensor) -> Tensor:
        """-1/N sum_n log p(x_n); with a guide, plus a term of value 0 and the gradient of its divergence."""
        codes = self.codes(self.program)
        log_joint = JointOfCodes(self.program, codes).log_prob(x)
        loss = -log_joint.logsumexp(0).mean()
        if self.guide is None:
            return loss
        posterior = poutine.trace(self.guide).get_trace(x).nodes["z"]["fn"]
        log_q = posterior.log_prob(codes.unsqueeze(1))
        # KL(q || p(z | x)) up to log p(x), which the guide does not move.
        divergence = (log_q.exp() * (log_q - log_joint.detach())).sum(0).mean()
        return loss + divergence - divergence.detach()


def check_enumerable(program: nn.Module, guide: nn.Module) -> None:
    """The guide must sample the program's latents, all of them discrete, and of few enough values together.

    Raises:
        InvalidInput: naming the site.
    """
    like = next(guide.parameters(), torch.empty(()))
    with keyed_noise("trace-enum"), evaluation_mode(guide):
        trace = prune_subsample_sites(poutine.trace(guide).get_trace(like.new_zeros(2, program.data_dim)))
    check_sites(trace, program.latents, "guide")
    name, log_count = type(guide).__name__, 0.0
    for site in program.latents:
        posterior = trace.nodes[site]["fn"]
        if not posterior.support.is_discrete:
            problem = f"is continuous at site {site!r}, whose values cannot be enumerated"
            raise InvalidInput("guide", name, problem, "use the objective elbo")
        if not posterior.has_enumerate_support:
            problem = f"cannot be enumerated at site {site!r}: {type(posterior).__name__} has no enumerate_support"
            raise InvalidInput("guide", name, problem, "give BinaryCode(logits) for bits, or use the objective elbo")
        log_count += math.log(len(posterior.enumerate_support(expand=False)))
    if log_count > math.log(MAX_STATES) + 1e-9:
        problem = f"has more than {MAX_STATES} values to enumerate"
        raise InvalidInput("guide", name, problem, "take a smaller latent_dim, or use the objective elbo")
