"""What the shipped guides of one latent vector share: an encoder, which reads the family's parameters off the image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ..distributions import to_unit
from ..nets import make_encoder
from .base import Guide


class AmortizedGuide(Guide):
    """q(z | x) = family(encode(x)). A subclass writes ``num_parameters`` and ``family``.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        hidden: widths of the encoder: of its layers, or of its stages' channels.
        nonlinearity: name of its activation.
        levels: number of values of a pixel; images are scaled to [0, 1] before they are encoded.
        encoder: ``"mlp"``, ``"conv"`` or ``"recurrent"``, see ``make_encoder``.
        shape: (C, H, W), for encoders that know of rows and columns.
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        hidden: Sequence[int] = (200, 200),
        nonlinearity: str = "tanh",
        levels: int = 2,
        encoder: str = "mlp",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dim)
        self.levels = levels
        self.encoder = make_encoder(encoder, data_dim, hidden, self.num_parameters(), nonlinearity, shape)

    @abstractmethod
    def num_parameters(self) -> int:
        """P, the parameters of the posterior of one image."""

    def encode(self, x: Tensor) -> Tensor:
        """The family's parameters for each image: (N, D) -> (N, P), unconstrained."""
        return self.encoder(to_unit(x, self.levels))

    @abstractmethod
    def family(self, parameters: Tensor) -> TorchDistribution:
        """The posterior with these parameters: (..., P) -> batch shape (...), event shape (L,)."""

    def posterior(self, x: Tensor) -> TorchDistribution:
        """q(z | x): (N, D) -> batch shape (N,), event shape (L,)."""
        return self.family(self.encode(x))
