"""Free bits that are taken back, so that training ends with the ELBO: recommended for strong decoders."""

from __future__ import annotations

from torch import Tensor, nn

from ppl_models.errors import InvalidInput

from .elbo import NegativeElbo
from .schedules import Schedule


class ReleasedFreeBits(NegativeElbo):
    """-1/N sum_n E_q[log p(x_n | z)] + sum_g max(lambda(t), 1/N sum_n KL_g(x_n)), lambda(t) = lambda (1 - f(t)), nats.

    Free bits (Kingma et al. 2016, 1606.04934, eq. 15) whose allowance falls to 0. f is the linear ``Schedule``: 0 for
    ``hold`` updates, then a rise to 1 over ``release`` more. Until then the first lambda(t) nats of a group cost
    nothing, so that neither the noise of an untrained code nor a decoder that explains the images by their own pixels
    can drive the rate to 0; from then on the value is the negative ELBO itself, and what is left of the rate is what
    the program is better off with. A constant allowance, in contrast, ends at the optimum of another objective: it
    never lets a group below lambda. A warm-up of beta has no level of its own: what rate it starts from is the
    decoder's choice at beta near 0.

    Before the release the value is no bound and is never reported; validation watches the ELBO at beta = 1. The count
    of updates is saved with the weights.

    Args:
        program, guide: the pair.
        free_bits: lambda, nats per group, above 0.
        hold: updates in which the allowance is whole.
        release: updates over which it then falls to 0, at least 1.
        free_bits_per, num_particles, kl: as ``NegativeElbo``.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: for free bits that are not above 0 and finite, a negative ``hold``, a release below 1 update, and
            as ``NegativeElbo``.
    """

    name = "released"

    def __init__(
        self,
        program: nn.Module,
        guide: nn.Module | None,
        free_bits: float = 4.0,
        hold: int = 0,
        release: int = 2000,
        free_bits_per: str = "group",
        num_particles: int = 1,
        kl: str = "auto",
    ) -> None:
        if free_bits <= 0:
            raise InvalidInput("--objective.free_bits", free_bits, "leaves nothing to release", "give nats above 0")
        if hold < 0:
            raise InvalidInput("--objective.hold", hold, "counts updates", "give at least 0")
        if release < 1:
            raise InvalidInput("--objective.release", release, "counts updates", "give at least 1")
        super().__init__(program, guide, num_particles, kl, free_bits=free_bits, free_bits_per=free_bits_per)
        self.allowance = float(free_bits)
        self.release = Schedule("linear", release, delay=hold)

    def weighted(self, x: Tensor) -> Tensor:
        """The loss with the allowance of this update; in training mode the update is counted: x (N, D) -> (), nats."""
        self.free_bits = self.allowance * (1 - self.release())
        return super().weighted(x)
