"""Lower bounds from importance weights: the ELBO and the importance-weighted bound."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram

from ..claims import Claim
from ..pareto import pareto_shape
from ..randomness import keyed_noise
from ..weights import at_image, log_weights
from .base import Estimate, Estimator, positive, rows_within

# Bound on the elements of the largest tensor of one chunk of particles. A chunk costs milliseconds whatever its size,
# and the decoder of 5000 particles a tenth of a second: 2^22 takes these in one chunk, some 100 MB in all.
MAX_ELEMENTS = 2**22


class FromWeights(Estimator):
    """An estimator that is a function of K importance weights per image.

    Images are taken one at a time, each with noise keyed by (seed, image index), and their particles in chunks: a value
    cannot depend on the rest of the batch, and K particles are exactly K whatever the chunk.

    Args:
        guide: q(z | x).
        num_particles: K >= 1.
        seed: first part of the key of the noise.
        max_elements: bound on the elements of the largest tensor of one chunk, see ``rows_within``.

    Raises:
        InvalidInput: for K < 1.
    """

    claim = Claim.LOWER_BOUND
    prefix: str

    def __init__(
        self,
        guide: GuideProgram,
        num_particles: int,
        *,
        seed: int = 0,
        max_elements: int = MAX_ELEMENTS,
    ) -> None:
        if not isinstance(guide, nn.Module):
            raise InvalidInput("guide", type(guide).__name__, "a bound needs a guide", "give q(z | x), a GuideProgram")
        self.guide = guide
        self.num_particles = positive("num_particles", num_particles, "K")
        self.seed = seed
        self.max_elements = positive("max_elements", max_elements, "the bound")
        self.name = f"{self.prefix}:{self.num_particles}"

    def modules(self) -> tuple[nn.Module, ...]:
        """The guide is evaluated too."""
        return (self.guide,)

    @abstractmethod
    def summarize(self, log_w: Tensor) -> dict[str, Tensor]:
        """``value``, ``stderr`` and diagnostics of one image from its log-weights (K,) in float64."""

    def weights(self, program: nn.Module, image: Tensor, index: int) -> Tensor:
        """The K log-weights of one image (1, D), float64.

        Raises:
            NonFiniteError: naming site and image, if one is NaN or +infinity.
        """
        chunk = rows_within(self.max_elements, image.shape[-1], program, self.guide)
        full, rest = divmod(self.num_particles, chunk)
        sizes = [chunk] * full + [rest] * (rest > 0)
        located = at_image(self.name, program, self.guide, image, int(index))
        with located, keyed_noise(self.seed, self.name, int(index), device=image.device):
            parts = [log_weights(program, self.guide, image, size)[:, 0] for size in sizes]
        return torch.cat(parts).double()

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """Summaries of each image's weights.

        Raises:
            InvalidInput: for a program without latents.
        """
        if not program.latents:
            raise InvalidInput(self.name, type(program).__name__, "the program has no latents", "use Exact()")
        rows = [self.summarize(self.weights(program, x[i : i + 1], index[i])) for i in range(len(x))]
        columns = {key: torch.stack([row[key] for row in rows]).to(torch.get_default_dtype()) for key in rows[0]}
        values, stderr = columns.pop("value"), columns.pop("stderr")
        return Estimate(values, self.claim, stderr, diagnostics=columns)


class Elbo(FromWeights):
    """The evidence lower bound E_q[log p(x, z) - log q(z | x)] (Jordan et al. 1999), estimated by the mean of K
    log-weights.

    The standard error is the standard deviation of the log-weights over sqrt(K), NaN for K = 1.
    """

    prefix = "elbo"

    def summarize(self, log_w: Tensor) -> dict[str, Tensor]:
        """Mean and standard error of the log-weights (K,)."""
        return {"value": log_w.mean(), "stderr": standard_error(log_w)}


class ImportanceWeighted(FromWeights):
    """The importance-weighted bound log 1/K sum_k w_k (Burda et al. 2016, 1509.00519).

    In expectation it lies below log p(x), rises with K and equals the ELBO at K = 1. The standard error is that of the
    logarithm of the mean weight to first order, sqrt(1/ESS - 1/K), NaN for K = 1. Diagnostics: ``ess`` = (sum w)^2 /
    sum w^2 and ``pareto_k``, the shape of the weights' tail (Vehtari et al. 2024, 1507.02646): above 0.7 the value is
    unreliable.
    """

    prefix = "iw"

    def summarize(self, log_w: Tensor) -> dict[str, Tensor]:
        """Log-mean-exp of the log-weights (K,), with diagnostics."""
        return log_mean_weight(log_w)


def log_mean_weight(log_w: Tensor) -> dict[str, Tensor]:
    """log 1/K sum_k w_k of log-weights (K,): ``value``, ``stderr``, ``ess`` and ``pareto_k``."""
    count = len(log_w)
    total = log_w.logsumexp(0)
    ess = torch.exp(2 * total - (2 * log_w).logsumexp(0))
    variance = (1 / ess - 1 / count).clamp(min=0)
    stderr = variance.sqrt() if count > 1 else torch.full_like(variance, math.nan)
    return {
        "value": total - math.log(count),
        "stderr": stderr,
        "ess": ess,
        "pareto_k": pareto_shape(log_w),
    }


def standard_error(values: Tensor) -> Tensor:
    """Standard error of the mean of (K,) values; NaN for K = 1."""
    if len(values) == 1:
        return torch.full_like(values[0], math.nan)
    return values.std() / math.sqrt(len(values))
