"""The deterministic autoencoder's objective."""

from __future__ import annotations

from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput

from .base import Objective


class ReconstructionError(Objective):
    """1/N sum_n |x_n - reconstruction(x_n)|^2 on the scale [0, 1], summed over pixels. Not nats, not a likelihood.

    Raises:
        InvalidInput: for anything but the deterministic autoencoder.
    """

    name = "reconstruction"

    def __init__(self, program: nn.Module, guide: nn.Module | None = None) -> None:
        if not isinstance(program, NotADensity):
            kind = type(program).__name__
            raise InvalidInput(
                "--objective",
                self.name,
                f"{kind} is a density and is trained by its likelihood",
                "use nll or elbo",
            )
        super().__init__(program)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> ()."""
        scale = self.program.levels - 1
        return ((x - self.program.reconstruct(x)) / scale).square().sum(-1).mean()
