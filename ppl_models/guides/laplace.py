"""The Laplace approximation: a normal distribution at the mode of p(x, z), as wide as the curvature there says (Laplace
1774; MacKay 2003, chapter 27).

Below the guide stands what every guide needs that works on its program's density: ``check_density``, ``log_joint``,
``steady``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..distributions import at_least_float32, full_precision
from ..errors import InvalidInput
from ..nets import evaluating
from ..program import GenerativeProgram, LatentProgram
from .base import Guide
from .diagonal_normal import DiagonalNormal

NO_SHAPE = torch.Size()
# Fractions of a Newton step that are tried, longest first; at the last the image stays where it is.
FRACTIONS = (*(0.5**k for k in range(10)), 0.0)
# The share of the promised gain that a step must bring (Armijo 1966).
SUFFICIENT = 1e-4
# Images times copies of them that are differentiated at once.
ROWS = 256


class Laplace(DiagonalNormal):
    """q(z | x) = N(z; m, H^-1) with m = argmax_z log p(x, z) and H = -d^2 log p(x, z) / dz^2 at m, for every image.

    The mode is sought by a fixed number of Newton steps with the exact Hessian. Its negative eigenvalues are taken by
    their size, so that a saddle is left, and a step is halved until it brings a gain (Dauphin et al. 2014, 1406.2572).
    Where log p(x, z) is quadratic in z, as for linear programs with normal noise and prior, q is the exact posterior
    after one step. There is no noise, and the result for an image depends on nothing else. One step costs L + 1
    backward passes.

    The search starts at the mean of an encoder, that of the diagonal normal ``family(encode(x))``. Two things are
    learned from an ELBO, which q enters as a constant:

    - the program by the gradient of log p(x, z) at the samples, as in expectation maximization: how mode and curvature
      would move with it is not followed;
    - the encoder by imitation: the ``log_prob`` of a draw, which an ELBO takes, adds KL(q(z | x) || family(encode(x)))
      minus its own value, a zero whose gradient pulls the start towards the result. Objectives without a gradient of
      log q at the draws (``stl``, ``dreg``) leave the encoder as it is: the steps are then all that finds the mode.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        steps: Newton steps.
        smallest_curvature: floor of the eigenvalues of H, which keeps q proper where p(x, z) is flat or no mode is
            found: no standard deviation exceeds 1 / sqrt of it.
        options: those of ``DiagonalNormal``, for the encoder.

    Raises:
        InvalidInput: for fewer than one step, or a floor that is not positive.
    """

    expresses = "normal"

    def __init__(
        self, data_dim: int, latent_dim: int, *, steps: int = 8, smallest_curvature: float = 0.01, **options: Any
    ) -> None:
        super().__init__(data_dim, latent_dim, **options)
        if steps < 1:
            raise InvalidInput("steps", steps, "a mode is reached by steps", "give at least 1")
        if not smallest_curvature > 0:
            problem = "a normal distribution has positive curvature"
            raise InvalidInput("smallest_curvature", smallest_curvature, problem, "write for example 0.01")
        self.steps, self.smallest_curvature = int(steps), float(smallest_curvature)

    def bind(self, program: GenerativeProgram) -> None:
        """Pair with a program.

        Raises:
            InvalidInput: as ``check_density``.
        """
        super().bind(program)
        check_density(self, program)

    def posterior(self, x: Tensor) -> TorchDistribution:
        """q(z | x): (N, D) -> batch shape (N,), event shape (L,).

        Raises:
            InvalidInput: before ``bind``.
        """
        start = self.family(self.encode(x))
        with steady(self.program, x), torch.no_grad():
            prior, mode = self.program.prior(), start.mean.detach()
            for _ in range(self.steps):
                mode = self.newton_step(prior, x, mode)
            _, _, eigenvalues, vectors = self.expand_at(prior, x, mode)
            # H^-1 = A A^T with A = V e^(-1/2), and A^T = Q R gives H^-1 = R^T R, without squaring A's condition number.
            root = vectors * eigenvalues.clamp(min=self.smallest_curvature).rsqrt().unsqueeze(-2)
            tril = torch.linalg.qr(root.mT)[1].mT
            refined = dist.MultivariateNormal(mode, scale_tril=tril * tril.diagonal(0, -2, -1).sign().unsqueeze(-2))
        # KL(q || start) without what the start has no part in.
        squares = refined.variance + (mode - start.mean).square()
        lesson = (squares / (2 * start.variance) + start.stddev.log()).sum(-1)
        return _Taught(refined, lesson)

    def newton_step(self, prior: TorchDistribution, x: Tensor, z: Tensor) -> Tensor:
        """z (N, L) moved towards the mode by the longest of ``FRACTIONS`` of a Newton step that gains enough."""
        value, gradient, eigenvalues, vectors = self.expand_at(prior, x, z)
        along = (vectors.mT @ gradient.unsqueeze(-1)).squeeze(-1)
        along = along / eigenvalues.abs().clamp(min=self.smallest_curvature)
        direction = (vectors @ along.unsqueeze(-1)).squeeze(-1)
        fractions = torch.tensor(FRACTIONS, dtype=z.dtype, device=z.device).view(-1, *[1] * (z.ndim - 1))
        reached = log_joint(self.program, prior, x, z + fractions.unsqueeze(-1) * direction)
        # At the mode a gain is lost in rounding: such a step is taken, so that images do not differ by chance.
        rounding = 8 * torch.finfo(value.dtype).eps * (1 + value.abs())
        promised = SUFFICIENT * fractions * (gradient * direction).sum(-1)
        enough = (reached >= value + promised - rounding) | (fractions == 0)
        longest = fractions.flatten()[enough.long().argmax(0)]  # argmax gives the first of equals
        return z + longest.unsqueeze(-1) * direction

    def expand_at(self, prior: TorchDistribution, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log p(x, z) (N,), its gradient (N, L), and the eigenvalues (N, L) and eigenvectors (N, L, L), in columns, of
        minus its Hessian, at z (N, L)."""
        # Small batches are repeated, so that one backward pass gives several rows of the Hessian.
        dim, copies = self.latent_dim, max(1, min(self.latent_dim, ROWS // z[..., 0].numel()))
        axes = torch.eye(dim, dtype=z.dtype, device=z.device).view(dim, *[1] * (z.ndim - 1), dim)
        with torch.enable_grad():
            z = z.detach().expand(copies, *z.shape).clone().requires_grad_()
            value = log_joint(self.program, prior, x, z)
            # Images do not mix, so that the gradient of a sum over them holds each one's own.
            (gradient,) = torch.autograd.grad(value.sum(), z, create_graph=True)
            rows = []
            for some in axes.split(copies):
                chosen = (gradient[: len(some)] * some).sum()
                rows += torch.autograd.grad(chosen, z, retain_graph=True, materialize_grads=True)[0][: len(some)]
        curvature = -torch.stack(rows, -2)
        eigenvalues, vectors = torch.linalg.eigh((curvature + curvature.mT) / 2)
        return value[0].detach(), gradient[0].detach(), eigenvalues, vectors


class _Taught(TorchDistribution):
    """A fixed normal distribution; log_prob at its latest draw carries the gradient of a loss, and not its value.

    At any other value it has no gradient but that of z: as a function of given values q does not depend on the encoder.

    Args:
        base_dist: the distribution, without gradients.
        lesson: the loss, of the batch shape; a mean of -log_prob as in an ELBO minimises it.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  named so by torch
    has_rsample = True

    def __init__(self, base_dist: dist.MultivariateNormal, lesson: Tensor) -> None:
        self.base_dist, self.lesson, self.drawn = base_dist, lesson, None
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Real vectors."""
        return self.base_dist.support

    @property
    def mean(self) -> Tensor:
        """The mode."""
        return self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        """The diagonal of the covariance."""
        return self.base_dist.variance

    @property
    def covariance_matrix(self) -> Tensor:
        """The inverse curvature."""
        return self.base_dist.covariance_matrix

    def expand(self, batch_shape: torch.Size, _instance: TorchDistribution | None = None) -> TorchDistribution:
        """The same, broadcast."""
        return _Taught(self.base_dist.expand(batch_shape), self.lesson.expand(batch_shape))

    def rsample(self, sample_shape: torch.Size = NO_SHAPE) -> Tensor:
        """Draws, a function of noise alone."""
        with full_precision(self.lesson):
            self.drawn = self.base_dist.rsample(sample_shape)
        return self.drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """log N(z; m, H^-1), in full precision: its matrix products are no layers of a net."""
        with full_precision(self.lesson):
            log_q = self.base_dist.log_prob(value)
        return log_q + (self.lesson - self.lesson.detach()) if value is self.drawn else log_q

    def entropy(self) -> Tensor:
        """In nats."""
        return self.base_dist.entropy()


def check_density(guide: Guide, program: GenerativeProgram) -> None:
    """Raise ``InvalidInput`` unless p(x, z) can be asked for and z is one vector of real numbers as long as the
    guide's."""
    name, kind = type(guide).__name__, type(program).__name__
    if not isinstance(program, LatentProgram):
        problem = f"works on prior() and likelihood(z), and {kind} is no LatentProgram"
        raise InvalidInput("guide", name, problem, "pair it with a LatentProgram such as VAE")
    if program.latent_dim != guide.latent_dim:
        problem = f"the latents of {kind} have length {program.latent_dim}"
        raise InvalidInput("latent_dim", guide.latent_dim, problem, "give the guide the same")
    with torch.no_grad():
        support = program.prior().support
    if support.is_discrete:
        remedy = "use IndependentBernoulli or OneHotCategorical"
        raise InvalidInput("guide", name, f"follows gradients, and the latents of {kind} are discrete", remedy)
    if not support.check(torch.tensor([[-1e3], [1e3]]).expand(2, guide.latent_dim)).all():
        problem = f"gives any real numbers, and the latents of {kind} are bounded"
        raise InvalidInput("guide", name, problem, "write a prior over real numbers and transform them in the decoder")


def log_joint(program: LatentProgram, prior: TorchDistribution, x: Tensor, z: Tensor) -> Tensor:
    """log p(z) + log p(x | z) in nats: x (N, D), z (..., N, L) -> (..., N). No Pyro site is recorded.

    Args:
        program: gives the likelihood.
        prior: ``program.prior()``, made once for many z.
    """
    return at_least_float32(prior.log_prob(z)) + program.likelihood(z).log_prob(x)


@contextmanager
def steady(program: nn.Module, x: Tensor) -> Iterator[None]:
    """Inside, the program's density is a fixed function that can be differentiated twice: evaluation mode, full
    precision, and recurrent layers without cuDNN, whose gradients have none and exist in training mode only."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in program.modules())
    with ExitStack() as stack:
        stack.enter_context(evaluating(program))
        stack.enter_context(full_precision(x))
        if recurrent and x.is_cuda:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield
