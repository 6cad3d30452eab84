"""The inverse autoregressive flow guide of Kingma et al. (2016, 1606.04934)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.transforms import ConditionalAffineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from ..distributions import at_least_float32, full_precision, to_scale
from ..errors import InvalidInput
from ..nets import activation
from ..nets.mlp import check_widths
from .amortized import AmortizedGuide

# Bound on |log scale| of one flow: pyro clips at 3, and a clipped scale has no true gradient.
MAX_LOG_SCALE = 3.0
# The last layer starts with weights this much smaller than usual: nearly the identity, and every weight has a gradient.
FIRST_WEIGHTS = 0.01


class Coefficients(ConditionalAutoRegressiveNN):
    """Means and log scales of one flow, (..., L) each, entry l a function of the context and of the earlier latents.

    Args:
        latent_dim: L.
        context_dim: length of the context.
        hidden: widths of the hidden layers, each at least L.
        order: the latents in their order, (L,).
        nonlinearity: name of the activation.
    """

    def __init__(
        self, latent_dim: int, context_dim: int, hidden: Sequence[int], order: Tensor, nonlinearity: str
    ) -> None:
        with warnings.catch_warnings():
            # With one latent the coefficients are functions of the context alone, which is what is meant.
            warnings.filterwarnings("ignore", "ConditionalAutoRegressiveNN input_dim = 1")
            super().__init__(
                latent_dim, context_dim, list(hidden), permutation=order, nonlinearity=activation(nonlinearity)
            )
        with torch.no_grad():
            self.layers[-1].weight.mul_(FIRST_WEIGHTS)
            self.layers[-1].bias.mul_(FIRST_WEIGHTS)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(..., L) and a context (N, C) that expands to it -> means, log scales, never in half precision: a draw and
        the inverse of its value would then disagree by hundredths of a nat."""
        with full_precision(x):
            mean, raw = super().forward(x, context)
        return mean, MAX_LOG_SCALE * torch.tanh(raw / MAX_LOG_SCALE)


class FlowPosterior(dist.TransformedDistribution):
    """Pyro's distribution, which scores a draw from what its transforms remember of drawing it, and inverts them, one
    latent at a time, for any other value.

    The memory answers to the very tensor that was drawn. It is passed over for values that were drawn without a graph
    while gradients are wanted: log q(z | x) at a fixed z has a gradient through the inverse, which is not remembered.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(z | x) in nats: (..., L), broadcast against the batch shape, -> (...)."""
        shape = torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape)
        if value.shape != shape or (torch.is_grad_enabled() and value.grad_fn is None):
            value = value.expand(shape)  # a new tensor, which nothing remembers
        return super().log_prob(value)


class InverseAutoregressive(AmortizedGuide):
    """q(z | x): z_0 ~ N(mu(x), diag sigma(x)^2), then F times z_{f+1} = exp(s_f) z_f + m_f, whose coefficients are
    autoregressive nets of z_f and of a context that the encoder reads off the image (Kingma et al. 2016, 1606.04934,
    eq. 10).

    Every other flow takes the latents in reversed order. A draw and its density cost one pass of each net; the density
    of a value that was not just drawn costs L passes of each. Before training the flows are nearly the identity. With
    one latent their coefficients are functions of the image, and q(z | x) is normal.

    Args:
        data_dim, latent_dim, hidden, nonlinearity, **options: as ``AmortizedGuide``; the nets have the same activation.
        flows: F.
        flow_hidden: widths of each net's hidden layers, at least L; one layer of max(64, 4 L) unless given.
        context_dim: length of the context.

    Raises:
        InvalidInput: for fewer than 1 flow, no hidden layer, a width below L, or no context.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        *shared: Any,
        flows: int = 2,
        flow_hidden: Sequence[int] | None = None,
        context_dim: int = 32,
        **options: Any,
    ) -> None:
        if not isinstance(flows, int) or flows < 1:
            raise InvalidInput("flows", flows, "a flow guide has flows", "give at least 1, or use DiagonalNormal")
        if not isinstance(context_dim, int) or context_dim < 1:
            raise InvalidInput("context_dim", context_dim, "the flows must know the image", "give at least 1")
        self.context_dim = context_dim
        super().__init__(data_dim, latent_dim, hidden, nonlinearity, *shared, **options)
        widths = check_flow_widths(flow_hidden, latent_dim)
        order = torch.arange(latent_dim)
        nets = (
            Coefficients(latent_dim, context_dim, widths, order.flip(0) if number % 2 else order, nonlinearity)
            for number in range(flows)
        )
        self.flows = nn.ModuleList(ConditionalAffineAutoregressive(net) for net in nets)

    def num_parameters(self) -> int:
        """2 L + C: means and unconstrained scales of the base, and the context."""
        return 2 * self.latent_dim + self.context_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        """The whole flow: (..., 2 L + C) -> event shape (L,)."""
        dim, parameters = self.latent_dim, at_least_float32(parameters)
        loc, raw, context = parameters.split([dim, dim, self.context_dim], -1)
        base = dist.Normal(loc, to_scale(raw)).to_event(1)
        # Conditioning makes new transforms: what they remember belongs to this posterior and its expanded copies.
        return FlowPosterior(base, [flow.condition(context) for flow in self.flows])


def check_flow_widths(widths: Sequence[int] | None, latent_dim: int) -> tuple[int, ...]:
    """The widths of an autoregressive net's hidden layers, or one layer of max(64, 4 L).

    Raises:
        InvalidInput: for no layer, or a width below L, which could not carry every latent.
    """
    if widths is None:
        return (max(64, 4 * latent_dim),)
    widths = check_widths("flow_hidden", widths)
    if not widths or min(widths) < latent_dim:
        problem = (
            f"the nets of the flows have hidden layers, each with a unit per latent, of which there are {latent_dim}"
        )
        raise InvalidInput("flow_hidden", list(widths), problem, f"write for example [{max(64, 4 * latent_dim)}]")
    return widths
