"""Flow guides made of zuko's transforms, an optional extra: ``pip install ".[flows]"``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints

from ..distributions import at_least_float32, full_precision, to_scale
from ..errors import InvalidInput, nearest
from ..nets import activation
from .amortized import AmortizedGuide
from .inverse_autoregressive import FIRST_WEIGHTS, FlowPosterior, check_flow_widths

# Name -> (class in zuko.flows, passes of a net that invert one flow; None for one per latent). All have an inverse in
# closed form: zuko's others invert by bisection, and log q(z | x) would be off by its tolerance.
KINDS: dict[str, tuple[str, int | None]] = {"nsf": ("NSF", None), "nsf-coupling": ("NSF", 2), "maf": ("MAF", None)}
# What importing zuko sets on the base class of all torch distributions.
CHANGED_BY_ZUKO = ("_validate_args", "arg_constraints")


def zuko_flows() -> ModuleType:
    """``zuko.flows``. Importing zuko switches the validation of every torch distribution off; it is put back.

    Raises:
        InvalidInput: where zuko is not installed.
    """
    new = "zuko" not in sys.modules
    kept = {name: vars(Distribution)[name] for name in CHANGED_BY_ZUKO}
    try:
        return importlib.import_module("zuko.flows")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "zuko":
            raise
        problem = "is made of zuko's flows, and zuko is not installed"
        raise InvalidInput("guide", "ZukoFlow", problem, 'pip install ".[flows]"') from None
    finally:
        if new:
            for name, value in kept.items():
                setattr(Distribution, name, value)


class ZukoFlow(AmortizedGuide):
    """q(z | x): z = mu(x) + sigma(x) f_F(... f_1(e)), e ~ N(0, I), the f of zuko (Rozet et al. 2022), with coefficients
    that are nets of the earlier latents and of a context that the encoder reads off the image.

    ``nsf``: f is a monotonic rational-quadratic spline per latent between -5 and 5 and the identity beyond, its knots
    autoregressive (neural spline flow; Durkan et al. 2019, 1906.04032). ``nsf-coupling``: the same splines; those of
    the second half of the latents know the first, those of the first the image alone. ``maf``: affine maps
    (Papamakarios et al. 2017, 1705.07057; run this way an inverse autoregressive flow). Every other flow takes the
    latents in reversed order.

    A draw and its density cost one pass of each net; the density of a value that was not just drawn costs L + 1 passes,
    with ``nsf-coupling`` 3. With one latent the coefficients are functions of the image. Before training the f are
    nearly the identity, and an encoder that outputs zeros gives nearly the standard normal.

    Args:
        data_dim, latent_dim, hidden, nonlinearity, **options: as ``AmortizedGuide``; the nets have the same activation.
        kind: ``"nsf"``, ``"nsf-coupling"`` or ``"maf"``.
        flows: F.
        flow_hidden: widths of each net's hidden layers, at least L; one layer of max(64, 4 L) unless given.
        context_dim: length of the context.

    Raises:
        InvalidInput: without zuko, for an unknown kind, fewer than 1 flow, no hidden layer, a width below L, or no
            context.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        *shared: Any,
        kind: str = "nsf",
        flows: int = 2,
        flow_hidden: Sequence[int] | None = None,
        context_dim: int = 32,
        **options: Any,
    ) -> None:
        if kind not in KINDS:
            raise InvalidInput("kind", kind, "unknown flow", nearest(str(kind), KINDS))
        if not isinstance(flows, int) or flows < 1:
            raise InvalidInput("flows", flows, "a flow guide has flows", "give at least 1, or use DiagonalNormal")
        if not isinstance(context_dim, int) or context_dim < 1:
            raise InvalidInput("context_dim", context_dim, "the flows must know the image", "give at least 1")
        family, passes = KINDS[kind]
        make = getattr(zuko_flows(), family)
        self.context_dim = context_dim
        super().__init__(data_dim, latent_dim, hidden, nonlinearity, *shared, **options)
        widths = check_flow_widths(flow_hidden, latent_dim)
        made = make(
            latent_dim,
            context_dim,
            transforms=flows,
            passes=passes,
            hidden_features=widths,
            activation=lambda: activation(nonlinearity),
        )
        self.flows = made.transform.transforms
        with torch.no_grad():
            for flow in self.flows:
                flow.hyper[-1].weight.mul_(FIRST_WEIGHTS)
                flow.hyper[-1].bias.mul_(FIRST_WEIGHTS)

    def num_parameters(self) -> int:
        """2 L + C: mu, unconstrained sigma, and the context."""
        return 2 * self.latent_dim + self.context_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """The whole flow: (..., 2 L + C) -> event shape (L,)."""
        dim, parameters = self.latent_dim, at_least_float32(parameters)
        loc, raw, context = parameters.split([dim, dim, self.context_dim], -1)
        with full_precision(loc):
            flows = [flow(context) for flow in self.flows]
        base = dist.Normal(torch.zeros_like(loc), torch.ones_like(loc)).to_event(1)
        return FlowPosterior(base, [_Pushed(loc, to_scale(raw), flows)])


class _Pushed(Transform):
    """e -> loc + scale f_F(... f_1(e)), (..., L) each. It remembers its last draw and the log-determinant at it, never
    in half precision: a draw and the inverse of its value would then disagree by hundredths of a nat."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, loc: Tensor, scale: Tensor, flows: Sequence[Transform]) -> None:
        super().__init__(cache_size=1)
        self.loc, self.scale, self.flows = loc, scale, flows
        self._drawn: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)

    def _forward(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det dz / de|."""
        log_det = self.scale.log().sum(-1)
        with full_precision(e):
            for flow in self.flows:
                e, term = flow.call_and_ladj(e)
                log_det = log_det + term
        return self.loc + self.scale * e, log_det

    def _call(self, e: Tensor) -> Tensor:
        z, log_det = self._forward(e)
        self._drawn = (e, z, log_det)
        return z

    def _inverse(self, z: Tensor) -> Tensor:
        e = (z - self.loc) / self.scale
        with full_precision(e):
            for flow in reversed(self.flows):
                e = flow.inv(e)
        return e

    def log_abs_det_jacobian(self, e: Tensor, z: Tensor) -> Tensor:
        """Remembered where it is asked of the very tensors of the last draw: (..., L) -> (...)."""
        if e is self._drawn[0] and z is self._drawn[1]:
            return self._drawn[2]
        return self._forward(e)[1]
