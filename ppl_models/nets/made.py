"""MADE's net: a masked perceptron with one degree per hidden unit, and masks that can be cycled.

A hidden unit of degree m sees the first m pixels of the ordering; a connection l -> k is kept iff m(l) <= m(k), and
pixel i reads the units with m <= rank[i] (Germain et al. 2015, 1502.03509). Degrees and ordering together are a
``Structure``. Any structure gives an autoregressive net of the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidInput
from ..ordering import Ordering
from .autoregressive import AutoregressiveNet, Cache
from .masked import MaskedMLP, assign_units

# What is drawn anew at every update: nothing, the degrees of the hidden units, or those and the ordering.
CYCLES = ("none", "masks", "orders")


@dataclass(frozen=True)
class Structure:
    """An ordering and the degree of every hidden unit, which together are MADE's masks.

    Args:
        ordering: of the D pixels.
        degrees: per hidden layer a tensor (width,): how many pixels of the ordering the unit sees.
    """

    ordering: Ordering
    degrees: tuple[Tensor, ...]

    def masks(self, outputs: int, direct: bool, device: torch.device) -> list[Tensor]:
        """The masks of all layers from the input on, the direct link's last; ``outputs`` rows per pixel."""
        rank = torch.tensor(self.ordering.rank, device=device)
        below, masks = rank + 1, []
        for degrees in self.degrees:
            degrees = degrees.to(device)
            masks.append(below[None, :] <= degrees[:, None])
            below = degrees
        masks.append((below[None, :] <= rank[:, None]).repeat_interleave(outputs, 0))
        if direct and self.degrees:
            masks.append((rank[None, :] < rank[:, None]).repeat_interleave(outputs, 0))
        return masks


def random_structure(ordering: Ordering, widths: Sequence[int], *, new_order: bool) -> Structure:
    """Degrees uniform between the least of the layer below and D - 1; with ``new_order`` a uniform ordering too.

    Drawn from torch's generator on the CPU, so that a resumed training draws the same.
    """
    data_dim = len(ordering)
    if new_order:
        ordering = Ordering(tuple(torch.randperm(data_dim).tolist()))
    degrees: list[Tensor] = []
    least, most = min(1, data_dim - 1), data_dim - 1
    for width in widths:
        degrees.append(torch.randint(least, most + 1, (width,)))
        least = int(degrees[-1].min())
    return Structure(ordering, tuple(degrees))


class AutoregressiveMLP(MaskedMLP, AutoregressiveNet):
    """Masked perceptron (N, D) -> (N, D, P) that is autoregressive in an ordering.

    Args:
        ordering: the order of generation.
        hidden: widths of the hidden layers; empty gives one masked affine map.
        outputs: P.
        direct, nonlinearity, dropout: as ``MaskedMLP``.
        scale: factor on the pixel values.
        companion: as ``MaskedLinear``.
        cycle: what is drawn anew in every pass in training: ``"none"``, ``"masks"`` (the degrees) or ``"orders"``
            (degrees and ordering: order-agnostic training). Evaluation always uses the saved structure.

    Raises:
        InvalidInput: for an unknown ``cycle``, or what ``MaskedMLP`` refuses.
    """

    def __init__(
        self,
        ordering: Ordering,
        hidden: Sequence[int],
        outputs: int = 1,
        direct: bool = False,
        nonlinearity: str = "relu",
        dropout: float = 0.0,
        scale: float = 1.0,
        cycle: str = "none",
        companion: bool = False,
    ) -> None:
        if cycle not in CYCLES:
            raise InvalidInput("cycle", cycle, "unknown", f"use {', '.join(CYCLES)}")
        rank = torch.tensor(ordering.rank)
        super().__init__(rank[None, :] < rank[:, None], hidden, outputs, direct, nonlinearity, dropout, companion)
        self.ordering, self.scale, self.cycle = ordering, scale, cycle
        self.widths = tuple(hidden)
        for number, width in enumerate(self.widths):
            degrees = torch.arange(min(1, len(ordering) - 1), max(len(ordering), 1))
            self.register_buffer(f"degrees_{number}", assign_units(degrees, width))

    def reorder(self, ordering: Ordering) -> None:
        """Take another ordering with the same degrees: the masks follow."""
        super().reorder(ordering)
        layers = self.masked_layers()
        masks = self.structure().masks(self.outputs, self.direct is not None, layers[0].mask.device)
        for layer, mask in zip(layers, masks, strict=True):
            layer.mask = mask

    def structure(self) -> Structure:
        """The saved one."""
        return Structure(self.ordering, tuple(getattr(self, f"degrees_{n}") for n in range(len(self.widths))))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D, P); in training under a fresh structure where ``cycle`` says so."""
        if self.training and self.cycle != "none":
            fresh = random_structure(self.ordering, self.widths, new_order=self.cycle == "orders")
            return self.evaluate(x * self.scale, fresh.masks(self.outputs, self.direct is not None, x.device))
        return self.evaluate(x * self.scale)

    def under(self, structure: Structure) -> AutoregressiveNet:
        """The same weights under another structure."""
        return _Under(self, structure)

    def frozen(self, masks: Sequence[Tensor] | None = None) -> Callable[[Tensor], Tensor]:
        """The net as a function, the masks multiplied into the weights."""
        net, scale = super().frozen(masks), self.scale
        return lambda x: net(x * scale)

    def cache(self, rows: int) -> Cache:
        """Each hidden unit is computed once, when it has seen its pixels."""
        return MADECache(self, self.structure(), rows)

    def footprint(self) -> int:
        """The widest two layers that stand beside each other."""
        return 2 * max(len(self.ordering) * self.outputs, *self.widths, 1)

    def sampler(self, rows: int, device: torch.device) -> tuple[str, int | None]:
        """The fixed point in blocks of 2 sqrt(D) steps: a few wide products are faster than many narrow ones, and a
        block's first pixels need not wait for its last ones to be right."""
        return "fixed-point", 2 * isqrt(len(self.ordering))


class _Under(AutoregressiveNet):
    """A view of a masked net under a structure that is not its own."""

    def __init__(self, net: AutoregressiveMLP, structure: Structure) -> None:
        super().__init__()
        self.net, self.structure = net, structure
        self.ordering, self.outputs, self.scale = structure.ordering, net.outputs, net.scale

    def _masks(self, device: torch.device) -> list[Tensor]:
        return self.structure.masks(self.outputs, self.net.direct is not None, device)

    def forward(self, x: Tensor) -> Tensor:
        return self.net.evaluate(x * self.scale, self._masks(x.device))

    def frozen(self) -> Callable[[Tensor], Tensor]:
        return self.net.frozen(self._masks(self.net.layers[-1].weight.device))

    def cache(self, rows: int) -> Cache:
        return MADECache(self.net, self.structure, rows)

    def footprint(self) -> int:
        return self.net.footprint()

    def sampler(self, rows: int, device: torch.device) -> tuple[str, int | None]:
        return self.net.sampler(rows, device)


class MADECache(Cache):
    """Hidden units sorted by degree: a step computes those that have just seen their last pixel, and one output.

    All D steps together multiply as much as one dense pass.
    """

    @torch.no_grad()
    def __init__(self, net: AutoregressiveMLP, structure: Structure, rows: int) -> None:
        super().__init__(structure.ordering)
        self.scale, self.outputs = net.scale, net.outputs
        layers = net.masked_layers()
        masks = structure.masks(net.outputs, net.direct is not None, layers[0].weight.device)
        effective = [layer.effective(mask) for layer, mask in zip(layers, masks, strict=True)]
        dense, biases = [weight for weight, _ in effective], [bias for _, bias in effective]
        sequence = torch.tensor(structure.ordering.sequence, device=dense[0].device)
        below, self.hidden, self.counts = sequence, [], []
        steps = torch.arange(len(sequence) + 1)
        for number, degrees in enumerate(structure.degrees):
            order = torch.argsort(degrees, stable=True).to(sequence.device)
            self.hidden.append((dense[number][order][:, below].contiguous(), biases[number][order]))
            self.counts.append(torch.searchsorted(degrees.cpu().sort().values, steps, right=True).tolist())
            below = order
        self.activation = next((m for m in net.layers if not isinstance(m, nn.Linear | nn.Dropout)), None)
        last = len(structure.degrees)
        bias = biases[last]
        self.link = None
        if net.direct is not None:
            self.link = self._per_step(dense[-1][:, sequence], sequence)
            bias = bias if biases[-1] is None else bias + biases[-1]
        self.output = (self._per_step(dense[last][:, below], sequence), bias.view(-1, net.outputs)[sequence])
        like = dense[0]
        self.state = {"x": like.new_zeros(rows, len(sequence))}
        for number, (weight, _) in enumerate(self.hidden):
            self.state[f"h{number}"] = like.new_zeros(rows, len(weight))
        self.complete = 0

    def _per_step(self, weight: Tensor, sequence: Tensor) -> Tensor:
        """Rows of an output layer in the order of generation, (D * P, in)."""
        return weight.unflatten(0, (-1, self.outputs))[sequence].flatten(0, 1).contiguous()

    def parameters(self, values: Tensor) -> Tensor:
        """(rows, B) -> (rows, B, P)."""
        steps = values.shape[1]
        seen = self.step + steps - 1
        x = self.state["x"]
        if steps > 1:
            x[:, self.step : seen] = values[:, :-1] * self.scale
        below = x[:, :seen]
        for number, (weight, bias) in enumerate(self.hidden):
            start, stop = self.counts[number][self.complete] if self.complete else 0, self.counts[number][seen]
            h = self.state[f"h{number}"]
            if stop > start:
                drive = functional.linear(below, weight[start:stop, : below.shape[1]], bias[start:stop])
                h[:, start:stop] = self.activation(drive)
            below = h[:, :stop]
        self.complete = self.step
        rows = slice(self.step * self.outputs, (self.step + steps) * self.outputs)
        y = functional.linear(
            below, self.output[0][rows, : below.shape[1]], self.output[1][self.step : self.step + steps].flatten()
        )
        if self.link is not None:
            y = y + functional.linear(x[:, :seen], self.link[rows, :seen])
        return y.unflatten(-1, (steps, self.outputs))

    def commit(self, values: Tensor) -> None:
        """Remember the pixels; the units that they complete are computed when they are read."""
        self.state["x"][:, self.step : self.step + values.shape[1]] = values * self.scale
        self.step += values.shape[1]
