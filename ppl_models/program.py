"""Programs: joint distributions over images that *are* Pyro models.

The call of a program is its generative story: it samples its latents, then site ``"x"``, in plate ``"image"``. Given
images it observes them. Pyro's own ELBOs, ``Predictive``, NUTS, ``condition`` and ``do`` therefore work on every
program. What can be known of p(x) is declared by type: ``HasLogProb`` says that log p(x) is exact, and nothing else may
claim it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from .errors import InvalidInput


def check_images(x: Tensor, data_dim: int, levels: int, measure: str = "mass") -> None:
    """Images must be a float tensor (N, D) of finite numbers, for a probability mass whole ones 0..levels-1.

    Raises:
        InvalidInput: saying which of these fails and what to do.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise InvalidInput("x", kind, "images are float tensors", "write torch.as_tensor(x).float()")
    if x.ndim != 2 or x.shape[-1] != data_dim:
        remedy = f"give a tensor of shape (N, {data_dim})"
        raise InvalidInput("x", tuple(x.shape), f"the program is over images of {data_dim} pixels", remedy)
    if not torch.isfinite(x).all():
        raise InvalidInput("x", "NaN or infinity", "images must be finite", "remove or repair those images")
    if measure == "density":
        return
    wrong = (x != x.round()) | (x < 0) | (x > levels - 1)
    if wrong.any():
        value = float(x[wrong][0])
        remedy = "binarize the images" if levels == 2 else "quantize the images, or build the program with their levels"
        raise InvalidInput("x", value, f"the program is over pixel values 0..{levels - 1}", remedy)


class GenerativeProgram(nn.Module, ABC):
    """A joint distribution over images x (N, D) and latents, whose call is a Pyro model.

    A subclass with latents of its own design writes ``forward``: sample the sites named in ``latents`` and then
    ``observe`` site ``"x"``, all inside ``pyro.plate("image", ...)``. ``TractableProgram`` and ``LatentProgram`` have
    written it already.

    Args:
        data_dim: D, the number of pixels.
        levels: number of values of a pixel, 0..levels-1; 0 for real-valued ones.

    Attributes:
        latents: names of the latent sites.
        measure: what p(x) is measured by: ``"mass"`` over whole pixel values, ``"density"`` over real ones. Numbers of
            the two are never compared.
        trained_elsewhere: beginnings of the names of parameters that no gradient of log p(x, z) reaches, since an
            objective of the program's own trains them.
        needs_guide: whether p(x) itself is made from the guide (``VampPrior``), so that even a draw needs it.
    """

    latents: tuple[str, ...] = ()
    measure: str = "mass"
    trained_elsewhere: tuple[str, ...] = ()
    needs_guide: bool = False

    def __init__(self, data_dim: int, *, levels: int = 2) -> None:
        super().__init__()
        if data_dim < 1:
            raise InvalidInput("data_dim", data_dim, "an image has at least one pixel", "give D >= 1")
        self.data_dim, self.levels = int(data_dim), int(levels)

    @abstractmethod
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Observe x (N, D), or generate ``size`` images; returns x."""

    def check(self, x: Tensor) -> None:
        """Raise ``InvalidInput`` unless x (N, D) lies in the program's sample space."""
        check_images(x, self.data_dim, self.levels, self.measure)

    def bind_guide(self, guide: nn.Module) -> None:
        """Told the guide it is paired with, by ``guide.bind(program)``. Nothing to do but for priors that are made from
        the guide (``VampPrior``)."""

    def plate(self, x: Tensor | None, size: int) -> pyro.plate:
        """The plate ``"image"`` for a call with these arguments."""
        return pyro.plate("image", size if x is None else x.shape[-2])

    def observe(self, likelihood: TorchDistribution, x: Tensor | None, size: int) -> Tensor:
        """Sample site ``"x"`` inside the plate, observed where x is given.

        Raises:
            InvalidInput: if a handler such as ``poutine.condition`` put in images that do not fill the plate. Pyro
                would broadcast them, and all images would share one draw of the latents without a word.
        """
        value = pyro.sample("x", likelihood, obs=x)
        expected = size if x is None else x.shape[-2]
        if value.ndim < 2 or value.shape[-2] != expected:
            raise InvalidInput(
                "x",
                tuple(value.shape),
                f"was put in place of {expected} image(s)",
                "call the program with size=N",
            )
        return value


class HasLogProb(ABC):
    """The capability of an exact log p(x). Only programs that truly have it may inherit it."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, summed over pixels: (N, D) -> (N,)."""


class TractableProgram(GenerativeProgram, HasLogProb):
    """A program without latents whose density can be written down. A subclass writes ``distribution``."""

    @abstractmethod
    def distribution(self) -> TorchDistribution:
        """The distribution of one image: event shape (D,)."""

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """x ~ distribution(), in plate ``"image"``."""
        with self.plate(x, size):
            return self.observe(self.distribution(), x, size)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: (N, D) -> (N,)."""
        return self.distribution().log_prob(x)


class LatentProgram(GenerativeProgram):
    """p(x, z) = p(z) p(x | z) with one latent vector per image. A subclass writes ``prior`` and ``likelihood``.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.
        levels: number of values of a pixel.
    """

    latents = ("z",)

    def __init__(self, data_dim: int, latent_dim: int, *, levels: int = 2) -> None:
        super().__init__(data_dim, levels=levels)
        if latent_dim < 1:
            raise InvalidInput("latent_dim", latent_dim, "a latent program has latents", "give at least 1")
        self.latent_dim = int(latent_dim)

    @abstractmethod
    def prior(self) -> TorchDistribution:
        """p(z): event shape (L,)."""

    @abstractmethod
    def likelihood(self, z: Tensor) -> TorchDistribution:
        """p(x | z): z (..., L) with any leading dimensions, singleton ones too -> batch shape (...), event shape
        (D,)."""

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """z ~ prior(), x ~ likelihood(z), in plate ``"image"``."""
        with self.plate(x, size):
            z = pyro.sample("z", self.prior())
            return self.observe(self.likelihood(z), x, size)
