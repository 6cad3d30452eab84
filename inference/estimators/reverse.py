"""Reverse annealing: an upper bound on log p(x) of images that the program simulated."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ppl_models.errors import InvalidInput

from ..claims import Claim
from ..simulate import Simulated
from .annealed import Annealed
from .base import Estimate, Estimator


class ReverseAnnealedImportance(Annealed):
    """The upper bound -log 1/K sum_k 1/w_k of K annealed chains per image that start at the z that made it.

    Bidirectional Monte Carlo (Grosse, Ghahramani & Adams 2015, 1511.02543; on decoders: Wu et al. 2017, 1611.04273).
    Where (x, z) is a draw of the program, z is an exact draw of p(z | x), the end of the forward path. The forward
    chain run backwards from there gives E[1/w | x] = 1/p(x) for every chain. The K chains share their z, so they are
    dependent, but the mean of their 1/w has that expectation still, and by Jensen's inequality

        E[-log 1/K sum_k 1/w_k] >= -log E[1/K sum_k 1/w_k] = log p(x).

    On given data no exact draw of p(z | x) is known and no such bound exists. The standard error and the diagnostics
    are those of the weights 1/w given z, so they do not know how values vary over z: the mean over images does.

    Arguments as ``Annealed``. Takes a ``Simulated`` in place of images.
    """

    stem, claim = "bdmc", Claim.UPPER_BOUND

    def __call__(
        self, program: nn.Module, x: Simulated, index: Sequence[int] | None = None
    ) -> Estimate:
        """Score simulated images.

        Args:
            program: what they were simulated from.
            x: from ``simulate``.
            index: keys of the noise; 0..N-1 unless given.

        Raises:
            InvalidInput: for images alone; and as ``Estimator``.
        """
        if not isinstance(x, Simulated):
            problem = (
                "an upper bound on given images does not exist: the reverse chain must start at an exact draw of "
                "p(z | x), which is known only for the z that made x"
            )
            raise InvalidInput(self.name, type(x).__name__, problem, "give simulate(program, n, seed)")
        missing = [name for name in program.latents if name not in x.latents]
        if missing:
            problem = f"lacks latents {missing} of {type(program).__name__}"
            raise InvalidInput("x", sorted(x.latents), problem, "simulate it from the program that is scored")
        bound = _Bound(self, x.latents)
        return bound(program, x.x, index)

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """Never without latents; see ``__call__``."""
        raise InvalidInput(self.name, "a tensor", "an upper bound on given images does not exist", "use a Simulated")

    def from_latents(
        self, program: nn.Module, x: Tensor, index: Sequence[int], latents: dict[str, Tensor]
    ) -> Estimate:
        """Minus log-mean-exp of the chains' inverse weights."""
        log_w, diagnostics = self.log_weights(program, x, index, latents)
        return self.summary(log_w, self.claim, diagnostics, sign=-1)


class _Bound(Estimator):
    """A reverse estimator with the latents of its images, so that the checks of every estimator are made."""

    def __init__(self, reverse: ReverseAnnealedImportance, latents: dict[str, Tensor]) -> None:
        self.name, self.num_particles, self.claim = reverse.name, reverse.num_particles, reverse.claim
        self.reverse, self.latents = reverse, dict(latents)

    def modules(self) -> tuple[nn.Module, ...]:
        """Those of the reverse estimator."""
        return self.reverse.modules()

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """The reverse estimator's bound, from these latents."""
        return self.reverse.from_latents(program, x, index, self.latents)
