"""The objective of an autoencoder and the density over it, trained in one run as if one after the other."""

from __future__ import annotations

from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.programs.autoencoder_density import AutoencoderDensity

from .base import refuse_baseline
from .elbo import NegativeElbo
from .replay import frozen

# How much of the codes' old mean and variance an update keeps.
KEPT = 0.99


class CodeDensity(NegativeElbo):
    """1/N sum_n |x_n - reconstruction(x_n)|^2 - 1/N sum_n ELBO(x_n), the autoencoder a constant in the ELBO.

    The squared error, on the scale [0, 1] and of the clean image, is all that trains the autoencoder; the ELBO is all
    that trains the rest: prior, calibration and guide. At every update the density is thus one that is fitted after the
    fact to the autoencoder as it stands, and the autoencoder is, weight for weight, what it would be without a density.
    (A limit on the norm of the gradient is shared by the two.) With AdamW, whose steps know no scale of a loss, the sum
    of the two needs no weight. Validation watches the ELBO, which is a bound.

    Codes drift as the autoencoder learns: in training mode every call moves the program's ``center`` and ``spread`` a
    hundredth of the way to the batch's mean and variance.

    Args:
        program: an ``AutoencoderDensity``.
        guide: its guide, any for continuous latents.
        num_particles: samples of z per image and step.

    Raises:
        NotADensityError: for the deterministic autoencoder alone.
        InvalidInput: for any other program, without a guide, or for K < 1.
    """

    name = "code-density"

    def __init__(self, program: nn.Module, guide: nn.Module | None, num_particles: int = 1) -> None:
        refuse_baseline(program, self.name)
        if not isinstance(program, AutoencoderDensity):
            problem = f"{type(program).__name__} has no autoencoder beside its density"
            raise InvalidInput("--objective", self.name, problem, "use recipe autoencoder_gmm, or another objective")
        super().__init__(program, guide, num_particles)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, D) -> (): a squared error plus nats, of which only the gradient has a meaning."""
        if self.training:
            self.program.standardize(self.program.autoencoder.encode(x), KEPT)
        with frozen(self.program.autoencoder.parameters()):
            bound = super().forward(x)
        return self.program.autoencoder.squared_error(x).mean() + bound
