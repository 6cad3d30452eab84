"""OrderMixture: one set of weights under many orderings, averaged as densities (Uria et al. 2014, 1310.1757; Germain et
al. 2015, 1502.03509)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from pyro.distributions.torch_distribution import TorchDistribution

from ..distributions import Autoregressive, MixtureOfOrders
from ..errors import InvalidInput
from ..nets import AutoregressiveMLP, Structure, random_structure
from ..ordering import Ordering, as_ordering
from .autoregressive import AutoregressiveProgram


class OrderMixture(AutoregressiveProgram):
    """p(x) = 1/K sum_k p(x | ordering k, masks k), all from one masked perceptron: exact by K passes.

    In training every pass draws one ordering and one set of masks and is trained as that component, which costs no more
    than a MADE; log p of the mixture is at least the mean of the components'. In evaluation the density is that of the
    K saved components.

    Args:
        data_dim: D, the number of pixels.
        num_components: K.
        hidden, direct, nonlinearity, dropout: as ``MADE``. Every layer has companion weights (``MaskedLinear``), which
            tell a unit what pixels it sees.
        vary: what the components differ in: ``"orders"`` (orderings and masks) or ``"masks"``.
        fresh: train with a new structure at every pass (order-agnostic training); ``False`` trains the K saved ones.
        structure_seed: of the components.
        ordering: the one that all components share where they vary in masks only.
        levels, likelihood, shape: as ``AutoregressiveProgram``.

    Raises:
        InvalidInput: for fewer than 1 component, an unknown ``vary``, or an ordering where the orderings are drawn.
    """

    net: AutoregressiveMLP

    def __init__(
        self,
        data_dim: int,
        num_components: int = 16,
        hidden: Sequence[int] = (500,),
        direct: bool = True,
        vary: str = "orders",
        fresh: bool = True,
        nonlinearity: str = "relu",
        dropout: float = 0.0,
        structure_seed: int = 0,
        ordering: Ordering | str | Sequence[int] = "raster",
        levels: int = 2,
        likelihood: str = "auto",
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(data_dim, ordering=ordering, levels=levels, likelihood=likelihood, shape=shape)
        if num_components < 1:
            raise InvalidInput("num_components", num_components, "a mixture has components", "give at least 1")
        if vary not in ("orders", "masks"):
            raise InvalidInput("vary", vary, "unknown", "use orders or masks")
        if vary == "orders" and self.ordering != as_ordering("raster", data_dim, self.shape):
            name = ordering if isinstance(ordering, str) else f"{data_dim} pixel indices"
            raise InvalidInput("ordering", name, "the components' orderings are drawn", 'leave it out, or vary "masks"')
        if not 0 <= structure_seed < 2**63:
            raise InvalidInput("structure_seed", structure_seed, "is no seed", "give a whole number from 0 to 2^63 - 1")
        outputs = self.family.num_parameters
        self.net = AutoregressiveMLP(
            self.ordering, hidden, outputs, direct, nonlinearity, dropout, self.scale, vary, companion=True
        )
        self.fresh = fresh
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(structure_seed)
            drawn = [
                random_structure(self.ordering, self.net.widths, new_order=vary == "orders")
                for _ in range(num_components)
            ]
        self.register_buffer("sequences", torch.tensor([structure.ordering.sequence for structure in drawn]))
        for layer in range(len(self.net.widths)):
            degrees = torch.stack([structure.degrees[layer] for structure in drawn])
            self.register_buffer(f"component_degrees_{layer}", degrees)

    @property
    def num_components(self) -> int:
        """K."""
        return len(self.sequences)

    def component(self, number: int) -> Autoregressive:
        """The density of component k."""
        degrees = tuple(getattr(self, f"component_degrees_{n}")[number] for n in range(len(self.net.widths)))
        structure = Structure(Ordering(tuple(self.sequences[number].tolist())), degrees)
        return Autoregressive(
            self.net.under(structure), self.family, structure.ordering, like=next(self.net.parameters())
        )

    def distribution(self) -> TorchDistribution:
        """In evaluation the ``MixtureOfOrders``, in training one component: event shape (D,)."""
        if not self.training:
            return MixtureOfOrders(_Components(self))
        if not self.fresh:
            return self.component(int(torch.randint(self.num_components, ())))
        structure = random_structure(self.ordering, self.net.widths, new_order=self.net.cycle == "orders")
        return Autoregressive(
            self.net.under(structure), self.family, structure.ordering, like=next(self.net.parameters())
        )


class _Components(Sequence[Autoregressive]):
    """The components of a program, built when they are read: their masks need not stand beside each other."""

    def __init__(self, program: OrderMixture) -> None:
        self.program = program

    def __len__(self) -> int:
        return self.program.num_components

    def __getitem__(self, number: int) -> Autoregressive:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self.program.component(number)

    def __iter__(self) -> Iterator[Autoregressive]:
        return (self[number] for number in range(len(self)))
