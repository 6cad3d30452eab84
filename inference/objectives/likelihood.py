"""Maximum likelihood for programs that have an exact density."""

from __future__ import annotations

from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.program import HasLogProb

from .base import Objective, refuse_baseline
from .elbo import has_analytic_kl, make_elbo
from .replay import frozen
from .terms import zero_valued


class NegativeLogLikelihood(Objective):
    """-1/N sum_n log p(x_n) in nats: for an autoregressive program, training by teacher forcing.

    A program with latents may have an exact density too (``LinearVAE``). Its guide is then trained beside it, towards
    the posterior of the program as it stands, by the gradient of -ELBO = KL(q(z | x) || p(z | x)) - log p(x), which
    adds nothing to the value of the loss and reaches no parameter of the program: that goes its way as if there were no
    guide, and estimators that need a guide find one that fits. Validation watches the exact log p(x).

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: for a program without an exact log p(x).
    """

    name = "nll"

    def __init__(self, program: nn.Module, guide: nn.Module | None = None) -> None:
        refuse_baseline(program, self.name)
        if not isinstance(program, HasLogProb):
            raise InvalidInput(
                "--objective",
                self.name,
                f"{type(program).__name__} has no exact log p(x)",
                "use elbo",
            )
        super().__init__(program, guide)
        if guide is not None:
            self.elbo = make_elbo(has_analytic_kl(program, guide))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> ()."""
        loss = -self.program.log_prob(x).mean()
        if self.guide is None:
            return loss
        with frozen(self.program.parameters()):
            bound = self.elbo.differentiable_loss(self.program, self.guide, x) / len(x)
        return loss + zero_valued(bound)
