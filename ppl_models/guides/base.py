"""What a guide is: q(z | x), a Pyro guide for the latents of a program.

To add a family, copy ``diagonal_normal.py``: write ``posterior`` and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import pyro
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ..errors import InvalidInput
from ..program import GenerativeProgram


class GuideProgram(nn.Module, ABC):
    """A guide whose call samples every latent site of its program. Guides with one site ``"z"`` subclass ``Guide``."""

    _program: tuple[GenerativeProgram, ...] = ()

    # "normal" or "diagonal normal" where the class holds all of these: the kit then trains it on a program with such a
    # posterior and asks for it. A claim about the class itself, which subclasses do not inherit.
    expresses: str | None = None

    @abstractmethod
    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """Sample the program's latents given images x (N, D), in plate ``"image"``."""

    def bind(self, program: GenerativeProgram) -> None:
        """Tell the guide which program it serves.

        The program is kept in a tuple, outside the module tree: its parameters are neither listed nor saved with the
        guide's. The program is told of the guide in turn, since a prior may be made from it.
        """
        self._program = (program,)
        program.bind_guide(self)

    @property
    def program(self) -> GenerativeProgram:
        """The program this guide was bound to.

        Raises:
            InvalidInput: before ``bind``.
        """
        if not self._program:
            raise InvalidInput(
                "guide",
                type(self).__name__,
                "is paired with no program",
                "call guide.bind(program)",
            )
        return self._program[0]


class Guide(GuideProgram):
    """A guide for one latent vector per image, site ``"z"``. A new guide writes ``posterior``.

    A guide whose posterior is a family with parameters that a net reads off the image may also offer ``encode(x) ->
    parameters`` (N, P) and ``family(parameters)``: the ``VampPrior`` is made from them, and the gap of a bound can then
    be split into what the family and what the net leaves.

    Args:
        data_dim: D, the number of pixels.
        latent_dim: L, the length of z.

    Raises:
        InvalidInput: for a program with several latent vectors.
    """

    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__()
        if not isinstance(latent_dim, int):
            problem = f"{type(self).__name__} is a guide for one latent vector, and the program has several"
            raise InvalidInput("--guide", type(self).__name__, problem, "use LadderNormal, or another GuideProgram")
        self.data_dim, self.latent_dim = int(data_dim), int(latent_dim)

    @abstractmethod
    def posterior(self, x: Tensor) -> TorchDistribution:
        """q(z | x): x (N, D) -> batch shape (N,), event shape (L,)."""

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        """z ~ q(z | x), in plate ``"image"``; returns z (N, L).

        Raises:
            InvalidInput: without images: an amortized guide has nothing to condition on.
        """
        if x is None:
            raise InvalidInput(
                "x",
                x,
                "a guide is conditioned on images",
                "call guide(x), or draw from program.prior()",
            )
        with pyro.plate("image", x.shape[-2]):
            return pyro.sample("z", self.posterior(x))
