"""A masked autoregressive flow as prior (Papamakarios et al. 2017, 1705.07057; as prior: Chen et al. 2017,
1611.02731)."""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.transforms import AffineAutoregressive, Permute
from torch import Tensor, nn

from ..distributions import at_least_float32
from ..errors import InvalidInput
from ..nets import MaskedLinear, MaskedMLP
from .base import Prior

# Bound on |log scale| of one flow: beyond it pyro would clip, and a clipped scale has no true gradient.
MAX_LOG_SCALE = 3.0
# The last layer starts with weights this much smaller than usual: nearly the identity, and every weight has a gradient.
FIRST_WEIGHTS = 0.01


class FlowPrior(Prior):
    """p(z) = N(f(z); 0, I) |det df/dz|, f a chain of F affine maps whose coefficients are autoregressive in z.

    One map is e_l = exp(s_l(z_<l)) z_l + m_l(z_<l); the latents are reversed between two maps. A density costs one pass
    of each net, a draw L passes. Before training p(z) is nearly N(0, I). With one latent the coefficients are
    constants, and p(z) is a normal distribution.

    Args:
        latent_dim: L, the length of z.
        flows: F, the number of maps.
        hidden: widths of each net's hidden layers; empty for affine coefficients.
        nonlinearity: name of the activation.

    Raises:
        InvalidInput: for no flows, a width below 1, or an unknown activation.
    """

    zero: Tensor

    def __init__(
        self, latent_dim: int, flows: int = 2, hidden: Sequence[int] = (128,), nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(latent_dim)
        if flows < 1:
            raise InvalidInput("flows", flows, "a flow prior has flows", "give at least 1, or use standard-normal")
        self.nets = nn.ModuleList(_Coefficients(latent_dim, hidden, nonlinearity) for _ in range(flows))
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> TorchDistribution:
        """The flow: batch shape (), event shape (L,), reparameterized."""
        backwards = torch.arange(self.latent_dim - 1, -1, -1, device=self.zero.device)
        # Each transform maps z towards the noise. They are made anew for every call: they cache what they last saw.
        transforms: list[torch.distributions.Transform] = []
        for net in reversed(self.nets):
            transforms += [_Affine(net).inv, Permute(backwards, cache_size=0)]
        base = dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
        return _Flow(base, transforms[:-1])


class _Coefficients(nn.Module):
    """z (..., L) -> means and log scales, each (..., L), entry l a function of z_<l."""

    def __init__(self, latent_dim: int, hidden: Sequence[int], nonlinearity: str) -> None:
        super().__init__()
        earlier = torch.ones(latent_dim, latent_dim).tril(-1).bool()
        self.net = MaskedMLP(earlier, hidden, outputs=2, nonlinearity=nonlinearity)
        last = [layer for layer in self.net.layers if isinstance(layer, MaskedLinear)][-1]
        with torch.no_grad():
            last.weight.mul_(FIRST_WEIGHTS)
            last.bias.mul_(FIRST_WEIGHTS)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = at_least_float32(self.net(z)).unbind(-1)
        return mean, MAX_LOG_SCALE * torch.tanh(raw / MAX_LOG_SCALE)


class _Affine(AffineAutoregressive):
    """Pyro's transform, in whatever precision z has: its own inverse starts from zeros in the default one."""

    def _inverse(self, y: Tensor) -> Tensor:
        """e -> z, one latent per pass of the net; the last pass has all scales right."""
        columns = [torch.zeros_like(y[..., 0])] * y.shape[-1]
        for index in range(y.shape[-1]):
            mean, log_scale = self.arn(torch.stack(columns, -1))
            columns[index] = (y[..., index] - mean[..., index]) * torch.exp(-log_scale[..., index])
        self._cached_log_scale = log_scale
        return torch.stack(columns, -1)


class _Flow(dist.TransformedDistribution):
    """Pyro's distribution, scored afresh: its transforms answer from a cache where they meet the tensor of their last
    call, with the weights and the gradient mode of then, and without a gradient for a z that they drew."""

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(z): (..., L) -> (...), nats."""
        return super().log_prob(value.view_as(value))
