"""The checks of a distribution."""

from __future__ import annotations

import torch
from pyro.distributions.torch_distribution import TorchDistribution, TorchDistributionMixin
from torch import Tensor

from ..errors import InvalidInput
from .fit import check_fit
from .quadrature import check_marginals
from .report import Failure, Report, Skip, Step, run_steps, sandbox
from .sampler import of_distribution
from .traces import check_close

MEND = "mend it; see torch.distributions.Distribution for what a distribution must be"


def check_shapes(d: TorchDistribution) -> None:
    """Draws and their log-densities have the shapes that batch and event say."""
    for leading in ((), (3,), (2, 3)):
        value = d.sample(torch.Size(leading))
        expected = (*leading, *d.batch_shape, *d.event_shape)
        if tuple(value.shape) != expected:
            raise Failure(
                f"sample({leading}) has shape {tuple(value.shape)}, not {expected}: batch, then event, at the right"
            )
        found = tuple(d.log_prob(value).shape)
        if found != expected[: len(expected) - len(d.event_shape)]:
            raise Failure(f"log_prob of a draw has shape {found}: sum over the event, and keep the rest")


def check_expand(d: TorchDistribution) -> None:
    """A larger batch shape, as plates ask for it, keeps the density and draws independently."""
    wide = d.expand(torch.Size((4, *d.batch_shape)))
    value = wide.sample()
    if tuple(value.shape) != (4, *d.batch_shape, *d.event_shape):
        raise Failure(f"expanded to batch (4, ...) it draws shape {tuple(value.shape)}: write expand")
    rows = torch.stack([d.log_prob(row) for row in value])
    check_close(wide.log_prob(value), rows, "expand changes log_prob: copy every attribute into the new instance")


def check_support(d: TorchDistribution) -> None:
    """Draws lie in the support, and their log-density is finite."""
    value = d.sample(torch.Size((50,)))
    if not d.support.check(value).all():
        raise Failure(f"draws fall outside of its support {d.support}: let support and sample agree")
    if not d.log_prob(value).isfinite().all():
        raise Failure("log_prob of a draw is NaN or infinite: let log_prob and sample agree")


def check_samples(d: TorchDistribution) -> str:
    """Draws fit log_prob: ``fit`` and, for one or two numbers, ``quadrature``."""
    sampler = of_distribution(d)
    remark = check_fit(sampler)
    try:
        return f"{remark}, {check_marginals(sampler)}"
    except Skip:
        return remark


def check_rsample(d: TorchDistribution) -> str | None:
    """``has_rsample`` tells the truth: draws carry a gradient wherever their density has one."""
    if not d.has_rsample:
        return "declared not"
    value = d.rsample(torch.Size((2,)))
    if not isinstance(value, Tensor) or not value.isfinite().all():
        raise Failure("rsample gives NaN or infinity: keep scales off 0")
    if not d.log_prob(value.detach()).requires_grad:
        return "declared; its parameters ask for no gradient"
    if not value.requires_grad:
        raise Failure(
            "has_rsample is True, and a draw has no gradient where log_prob has one: make rsample a differentiable "
            "function of noise, or set has_rsample = False"
        )
    return "declared"


STEPS = tuple(
    Step(name, function, MEND, needs)
    for name, function, needs in (
        ("shapes", check_shapes, ()),
        ("expand", check_expand, ("shapes",)),
        ("support", check_support, ("shapes",)),
        ("draws fit log_prob", check_samples, ("shapes", "support")),
        ("reparameterization", check_rsample, ("shapes",)),
    )
)


def check_distribution(distribution: TorchDistribution, *, seed: int = 0) -> Report:
    """Check a distribution.

    Args:
        distribution: a Pyro distribution.
        seed: of all noise. A sound one fails by chance once in about a thousand seeds.

    Raises:
        ConformanceError: if a check failed, with a sentence for each.
        InvalidInput: for what is no Pyro distribution.
    """
    if not isinstance(distribution, TorchDistributionMixin):
        kind = f"{type(distribution).__module__}.{type(distribution).__name__}"
        raise InvalidInput("distribution", kind, "is no Pyro distribution", "give one of pyro.distributions")
    with sandbox(seed):
        return run_steps(STEPS, distribution, type(distribution).__name__, seed).or_raise()
