"""The family of a guide: which distributions its net can choose among, and one of them as a guide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyro
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram

from ..estimators import evaluation_mode

Family = Callable[[Tensor], TorchDistribution]
REMEDY = (
    "leave --gap out, or give the guide encode(x) -> (N, P) and family(parameters), as "
    "ppl_models/guides/diagonal_normal.py has them"
)


class FixedPosterior(GuideProgram):
    """A guide that has made up its mind: site ``"z"`` from the distribution it is given, one row per image.

    Args:
        distribution: batch shape (N,), event shape (L,).
    """

    def __init__(self, distribution: TorchDistribution) -> None:
        super().__init__()
        self.distribution = distribution

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """z ~ the distribution, in plate ``"image"``."""
        with pyro.plate("image", size if x is None else x.shape[-2]):
            return pyro.sample("z", self.distribution)


class PathOnly(TorchDistribution):
    """A distribution whose density forgets where its parameters came from, so that an ELBO's gradient flows through the
    draws alone ("sticking the landing", Roeder, Wu & Duvenaud 2017, 1703.09194).

    What is left out, the score d log q at a fixed draw, has mean zero; where q is the posterior, nothing is left and
    the gradient has no noise at all.

    Args:
        drawn: draws come from this one.
        fixed: the same distribution from detached parameters.
    """

    has_rsample = True

    def __init__(self, drawn: TorchDistribution, fixed: TorchDistribution) -> None:
        self.drawn, self.fixed = drawn, fixed
        super().__init__(drawn.batch_shape, drawn.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """That of both."""
        return self.drawn.support

    def expand(self, batch_shape: Sequence[int], _instance: None = None) -> PathOnly:
        """Both, expanded."""
        return PathOnly(self.drawn.expand(batch_shape), self.fixed.expand(batch_shape))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws with their gradient."""
        return self.drawn.rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log q, in which only the value carries a gradient."""
        return self.fixed.log_prob(value)


def with_little_noise(family: Family, parameters: Tensor) -> TorchDistribution:
    """``family(parameters)``, such that the gradient of its ELBO is as quiet as it comes cheaply: ``PathOnly``.

    A flow is left as it is: the density of a draw is remembered from drawing it, and a detached copy would have to
    invert the draw, one pass per latent.
    """
    member = family(parameters)
    if isinstance(member, torch.distributions.TransformedDistribution):
        return member
    return PathOnly(member, family(parameters.detach()))


def check_splittable(program: nn.Module, guide: nn.Module | None, x: Tensor) -> None:
    """That a guide has a family whose members can be found by gradients, its own posterior among them.

    Args:
        program: of the pair.
        guide: of the pair.
        x: at least one image (N, D).

    Raises:
        InvalidInput: for a program without latents, a guide without ``encode`` and ``family``, one whose posterior is
            no member of its family, or one whose draws carry no gradient.
    """
    kind = type(guide).__name__
    if guide is None or not program.latents:
        problem = f"{type(program).__name__} has no latents, and so no bound that could have a gap"
        raise InvalidInput("--gap", type(program).__name__, problem, "leave it out")
    if not (callable(getattr(guide, "encode", None)) and callable(getattr(guide, "family", None))):
        problem = "has no family with parameters per image, among which a better member could be sought"
        raise InvalidInput("--gap", kind, problem, REMEDY)
    with evaluation_mode(program, guide):
        posterior, member = guide.posterior(x[:1]), guide.family(guide.encode(x[:1]))
    own, others = kind_of(posterior), kind_of(member)
    if own is not others:
        problem = f"its posterior ({own.__name__}) is no member of its family ({others.__name__})"
        raise InvalidInput("--gap", kind, problem, "split the gap of another guide, such as FullRankNormal")
    if not member.has_rsample:
        problem = f"draws of its family ({others.__name__}) carry no gradient"
        raise InvalidInput("--gap", kind, problem, "enumerate log p(x) instead: --estimators enumerate")


def kind_of(distribution: TorchDistribution) -> type[TorchDistribution]:
    """The class of a distribution, looking through what only declares dimensions to be of one event."""
    while isinstance(distribution, torch.distributions.Independent):
        distribution = distribution.base_dist
    return type(distribution)
