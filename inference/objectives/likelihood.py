"""Maximum likelihood for programs that have an exact density."""

from __future__ import annotations

from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.program import HasLogProb

from .base import Objective, refuse_baseline


class NegativeLogLikelihood(Objective):
    """-1/N sum_n log p(x_n) in nats: for an autoregressive program, training by teacher forcing.

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
        super().__init__(program)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> ()."""
        return -self.program.log_prob(x).mean()
