"""What a net must offer to parametrise p(x) = prod_t p(x_t | x_<t): one parallel pass, and a cache for one pixel more.

Autoregressive nets map images (N, D), pixel values 0..levels-1, to the parameters of all D conditionals (N, D, P) in
one pass. A net that can also say the next conditional cheaply, given what it remembers of the pixels so far, offers a
``Cache``; samplers and particle filters use it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..ordering import Ordering


class Cache(ABC):
    """What a net remembers of the pixels generated so far, for a batch of rows (images).

    Steps count pixels in the order of generation. ``parameters`` says the conditionals of the next B steps, ``commit``
    makes the pixels of the next B steps final. To write one, keep every tensor whose first dimension is the rows in
    ``self.state``: ``select`` then works as it is.
    """

    def __init__(self, ordering: Ordering) -> None:
        self.ordering = ordering
        self.step = 0
        self.state: dict[str, Tensor] = {}

    @property
    def limit(self) -> int:
        """How many next steps ``parameters`` can take at once, at least 1 before the end."""
        return len(self.ordering) - self.step

    @abstractmethod
    def parameters(self, values: Tensor) -> Tensor:
        """Parameters of the next B conditionals: tentative pixel values (rows, B) -> (rows, B, P).

        Conditional b is given the final pixels and ``values[:, :b]``; the last column is not read, so that B = 1 needs
        no guess. May be called again with better values.
        """

    @abstractmethod
    def commit(self, values: Tensor) -> None:
        """Make pixel values (rows, B) of the next B steps final.

        Where B > 1, all but the last column must be those that ``parameters`` was last called with.
        """

    def select(self, index: Tensor) -> None:
        """Keep the rows ``index`` (M,), in that order and with repeats."""
        self.state = {name: tensor.index_select(0, index) for name, tensor in self.state.items()}


@contextmanager
def evaluating(net: object) -> Iterator[None]:
    """Dropout and changing masks off in a net that has them, and its modes put back: a draw is of one density."""
    parts = [part for part in net.modules() if part.training] if isinstance(net, nn.Module) else []
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True


class AutoregressiveNet(nn.Module, ABC):
    """A net whose parameters of pixel i depend on the pixels generated before i only.

    Attributes:
        ordering: the order of generation.
        outputs: P, the parameters of each conditional.
        scale: pixel values are multiplied by this on entry: 1 / (levels - 1), so that they lie in [0, 1].
    """

    ordering: Ordering
    outputs: int
    scale: float = 1.0

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Pixel values (..., D) -> (..., D, P), pixel i's parameters in entry i."""

    def reorder(self, ordering: Ordering) -> None:
        """Take another ordering of as many pixels, and whatever follows from it: a program's saved ordering is
        loaded."""
        self.ordering = ordering

    def cache(self, rows: int) -> Cache | None:
        """An empty cache for so many rows; ``None`` where the net has none."""
        return None

    def frozen(self) -> Callable[[Tensor], Tensor]:
        """The same function, faster where many evaluations with today's weights follow. Without dropout and
        gradients."""
        return self

    def footprint(self) -> int:
        """About how many numbers one image holds at once in a pass without gradients."""
        return len(self.ordering) * self.outputs

    def sampler(self, rows: int, device: torch.device) -> tuple[str, int | None]:
        """What ``method="auto"`` means for so many images on that device: a sampler, and the block of a fixed point.

        A fixed rule, never a timing. Here: the cache where there is one, else the fixed point over whole images.
        """
        return ("cached" if type(self).cache is not AutoregressiveNet.cache else "fixed-point"), None
